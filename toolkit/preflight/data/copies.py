"""The same picture twice: in two splits, where it makes the numbers flatter, or within one; exact and near copies."""

from __future__ import annotations

import filecmp
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.contracts import Dataset
from toolkit.data.images.fingerprint import hash_bits, mirrored_bits, near_pairs, pixel_digest
from toolkit.data.images.read import image_size, read_image
from toolkit.data.splits.groups import MOST_COMPARED, joined
from toolkit.errors import Problem, UserError, listed
from toolkit.preflight.data.record import SplitRecords, count
from toolkit.preflight.findings import Finding, Report

_SHOWN_PAIRS = 3


class _Hashes:
    """The perceptual hashes of a split: each once, with the samples that have it."""

    def __init__(self, split: SplitRecords) -> None:
        self.split = split
        members: dict[str, list[int]] = defaultdict(list)
        for index, record in enumerate(split.records):
            if record.perceptual_hash:
                members[record.perceptual_hash].append(index)
        self.members = list(members.values())
        self.bits = hash_bits(list(members)) if members else np.zeros((0, 256), bool)

    def near(self, other: _Hashes) -> list[tuple[int, int]]:
        """Pairs (own sample, other sample) that look alike or are mirror images; one pair for each own sample."""
        pairs: dict[int, int] = {}
        for bits in (other.bits, mirrored_bits(other.bits)):
            for mine, theirs in near_pairs(self.bits, bits).tolist():
                for index in self.members[mine]:
                    pairs.setdefault(index, other.members[theirs][0])
        return sorted(pairs.items())


def note_copies(report: Report, splits: Sequence[SplitRecords]) -> None:
    """Adds findings for pictures that occur twice. Splits that share a file by name have been told of that already."""
    looks = {split.name: _Hashes(split) for split in splits}
    for place, split in enumerate(splits):
        exact = _note_within(report, split)
        _note_near_within(report, split, looks[split.name], exact)
        for earlier in splits[:place]:
            same = _note_across(report, earlier, split)
            _note_near_across(report, earlier, split, looks[earlier.name], looks[split.name], same)
    number = sum(len(one.bits) for one in looks.values())
    if number > MOST_COMPARED:
        report.note("copies", f"near copies were not looked for among {number:,} images (more than {MOST_COMPARED:,})")


def _groups(split: SplitRecords) -> list[list[int]]:
    """Samples with the same pixels."""
    by_digest: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(split.records):
        if record.digest:
            by_digest[record.digest].append(index)
    return [group for group in by_digest.values() if len(group) > 1]


def _note_within(report: Report, split: SplitRecords) -> set[int]:
    groups = _groups(split)
    if not groups:
        return set()
    extra = sum(len(group) - 1 for group in groups)
    told = "; ".join(" = ".join(split.short(split.image(i)) for i in group[:4]) for group in groups[:_SHOWN_PAIRS])
    more = f"; and {len(groups) - _SHOWN_PAIRS} more groups" if len(groups) > _SHOWN_PAIRS else ""
    other = sum(any(not _same_labels(split, group[0], split, i) for i in group[1:]) for group in groups)
    differ = f" ({other} of the groups with different labels)" if other else ""
    message = f"{count(extra, 'image')} with the same pixels as another of {split.name}{differ}: {told}{more}"
    files = tuple(split.image(index) for group in groups for index in group)
    problem = Problem(split.where, message, "remove the copies: they count twice")
    report.add(Finding("duplicate_image", problem, "warning", extra, files))
    return {index for group in groups for index in group[1:]}


def _same_labels(one: SplitRecords, first: int, other: SplitRecords, second: int) -> bool:
    a, b = one.records[first], other.records[second]
    return (a.labels, a.boxes, a.image_label) == (b.labels, b.boxes, b.image_label)


def _note_near_within(report: Report, split: SplitRecords, looks: _Hashes, exact: set[int]) -> None:
    if len(looks.bits) > MOST_COMPARED:
        return
    groups = _joined(looks, exact)
    if not groups:
        return
    members = sum(len(group) for group in groups)
    largest = max(groups, key=len)
    told = "; ".join(" ~ ".join(split.short(split.image(i)) for i in group[:3]) for group in groups[:_SHOWN_PAIRS])
    message = (
        f"{count(members, 'image')} of {split.name} are near copies of one another, in {count(len(groups), 'group')}, the "
        f"largest of {len(largest)}: {told}{'; ...' if len(groups) > _SHOWN_PAIRS else ''}"
    )
    files = tuple(split.image(index) for group in sorted(groups, key=len, reverse=True) for index in group)
    suggestion = "frames of a video? they say less than their number suggests"
    report.add(Finding("near_copies", Problem(split.where, message, suggestion), "warning", members, files))


def _joined(looks: _Hashes, exact: set[int]) -> list[list[int]]:
    """Groups of samples linked by likeness (directly or through others), without the repeats of equal pictures."""
    pairs = [
        (one, other)
        for bits in (looks.bits, mirrored_bits(looks.bits))
        for one, other in near_pairs(looks.bits, bits).tolist()
        if one < other
    ]
    first = joined(len(looks.bits), pairs).tolist()
    groups: dict[int, list[int]] = defaultdict(list)
    for place, members in enumerate(looks.members):
        groups[first[place]] += [index for index in members if index not in exact]
    return [sorted(group) for group in groups.values() if len(group) > 1]


def _note_across(report: Report, earlier: SplitRecords, later: SplitRecords) -> set[int]:
    """Equal pixels in two splits; the samples of the later one. The same file in both is not told again."""
    first = {}
    for index, record in reversed(list(enumerate(earlier.records))):
        first[record.digest] = index
    same = {i: first[r.digest] for i, r in enumerate(later.records) if r.digest and r.digest in first}
    shared = {earlier.image(index) for index in range(len(earlier.records))}
    told = {i: j for i, j in same.items() if later.image(i) not in shared}
    if told:
        pairs = [f"{later.short(later.image(i))} = {earlier.short(earlier.image(j))}" for i, j in told.items()]
        other = sum(not _same_labels(later, i, earlier, j) for i, j in told.items())
        differ = f" ({other} with different labels)" if other else ""
        message = (
            f"{len(told)} of the {len(later.records)} images of {later.name} are in {earlier.name} too, pixel for "
            f"pixel{differ}: {listed(pairs, _SHOWN_PAIRS)}"
        )
        suggestion = f"remove them from one of the two: what {later.name} measures is flattered"
        files = tuple(path for i, j in told.items() for path in (later.image(i), earlier.image(j)))
        report.add(
            Finding("same_image", Problem(later.where, message, suggestion), "error", len(told), files, paired=True)
        )
    return set(same)


def _note_near_across(
    report: Report, earlier: SplitRecords, later: SplitRecords, first: _Hashes, second: _Hashes, same: set[int]
) -> None:
    if max(len(first.bits), len(second.bits)) > MOST_COMPARED:
        return
    pairs = [(i, j) for i, j in second.near(first) if i not in same]
    if not pairs:
        return
    told = listed(
        (f"{later.short(later.image(i))} ~ {earlier.short(earlier.image(j))}" for i, j in pairs), _SHOWN_PAIRS
    )
    message = (
        f"{len(pairs)} of the {len(later.records)} images of {later.name} are near copies (or mirror images) of one in "
        f"{earlier.name}: {told}"
    )
    files = tuple(path for i, j in pairs for path in (later.image(i), earlier.image(j)))
    suggestion = f"look at them; remove them from one of the two if they are: what {later.name} measures is flattered"
    report.add(
        Finding("near_copy", Problem(later.where, message, suggestion), "warning", len(pairs), files, paired=True)
    )


def check_shared_images(report: Report, datasets: dict[str, Dataset], *, allowed: bool = False) -> None:
    """Adds a finding for every pair of splits that have pictures in common, pixel for pixel.

    The same file is found by its path; a copy by its bytes, or, where it was saved anew, by its name and pixels. Copies
    that were renamed and saved anew are the full check's to find.

    Args:
        report: takes the findings: errors, or warnings where training cannot be deceived by them.
        datasets: the data sets that are compared, by split.
        allowed: whether the config allows it; then it is only said.
    """
    splits = list(datasets)
    files = {split: dataset.image_files() for split, dataset in datasets.items()} if len(splits) > 1 else {}
    for place, one in enumerate(splits):
        for other in splits[place + 1 :]:
            shared = _shared(files[one], files[other])
            if shared:
                report.add(_finding(one, other, shared, len(datasets[other]), allowed=allowed))


def _shared(own: Sequence[str], others: Sequence[str]) -> dict[Path, Path]:
    """Files of the others that hold a picture of ours, each with ours. Paths are text: a split may have a million."""
    folders: dict[str, _Folder] = {}
    mine = {_real(path, folders): path for path in own}
    found = {path: mine[real] for path in others if (real := _real(path, folders)) in mine}
    left = [(path, _bytes_of(path)) for path in others if path not in found]
    sizes: dict[int, list[str]] = {size: [] for _, size in left}
    names: dict[str, list[str]] = {_stem(path): [] for path, _ in left}
    for path in own if left else ():
        if (size := _bytes_of(path)) in sizes:
            sizes[size].append(path)
        if (stem := _stem(path)) in names:
            names[stem].append(path)
    looked = 0
    for path, size in left:
        same = next((one for one in sizes[size] if _are_equal(one, path)), None)
        if same is None and names[_stem(path)] and looked < _MOST_DECODED:
            looked += 1
            same = next((one for one in names[_stem(path)] if _pixels_are_equal(Path(one), Path(path))), None)
        if same is not None:
            found[path] = same
    return {Path(path): Path(same) for path, same in found.items()}


class _Folder:
    """real: what `os.path.realpath` says of it. links: names in it that are links; None where it cannot be listed."""

    def __init__(self, folder: str) -> None:
        self.real = os.path.realpath(folder)
        try:
            with os.scandir(self.real) as entries:
                self.links: set[str] | None = {entry.name for entry in entries if entry.is_symlink()}
        except OSError:
            self.links = None


def _real(path: str, folders: dict[str, _Folder]) -> str:
    """`os.path.realpath` of a file; its folder is looked at once, for it may hold a million."""
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = _Folder(folder)
    known = folders[folder]
    if known.links is None or name in known.links:
        return os.path.realpath(path)
    return os.path.join(known.real, name)  # noqa: PTH118 - a path a file is dear here


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]  # noqa: PTH119, PTH122 - likewise


_MOST_DECODED = 200
"""Pictures of one name in two splits that are decoded to be compared."""


def _bytes_of(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - likewise
    except OSError:  # reading it says what is wrong
        return -1


def _are_equal(one: str, other: str) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _pixels_are_equal(one: Path, other: Path) -> bool:
    try:
        return image_size(one) == image_size(other) and pixel_digest(read_image(one)) == pixel_digest(read_image(other))
    except UserError:
        return False


def _finding(one: str, other: str, shared: dict[Path, Path], count: int, *, allowed: bool) -> Finding:
    """An error where some images are in both splits; where all are the same files, somebody meant it, and it is said."""
    first = min(shared)
    copies = sum(path != mine for path, mine in shared.items())
    meant = len(shared) == count and not copies
    what = "is the same images as" if meant else f"has {len(shared)} of its {count} images from"
    example = f"{first.absolute()} is {shared[first].absolute()}" if first != shared[first] else f"{first.absolute()}"
    message = f"'{other}' {what} '{one}' (e.g. {example}): what is measured on them says nothing of new images"
    stops = not (meant or allowed or other == "test" or one == "test")
    remedy = "keep the splits apart, or expect flattering numbers"
    remedy += "; data.shared_images: allow goes on with them" if stops else ""
    paths = tuple(str(path.absolute()) for path in sorted(shared)[:20])
    problem = Problem(f"data.{other}.dataset", message, remedy)
    return Finding("same_files", problem, "error" if stops else "warning", len(shared), paths)
