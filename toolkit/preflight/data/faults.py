"""Samples that cannot be used: many files with the same fault are one finding, with all their names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from toolkit.contracts import Dataset
from toolkit.data.faults.leaving_out import Fault
from toolkit.errors import Problem, listed
from toolkit.preflight.data.record import RecordedFault, SplitRecords, count
from toolkit.preflight.findings import Finding, FoundBox, Report

SEVERAL = {
    "missing": "files do not exist",
    "unreadable": "files cannot be read",
    "empty": "files are empty (0 bytes)",
    "not_an_image": "files are no images of a known format",
    "truncated": "files are truncated",
    "damaged": "images are damaged inside",
    "deep": "images have more than 8 bits a channel",
    "mask_size": "masks have another size than their images",
    "mask_size_exif": "masks have the size of the unturned image, which its EXIF tag turns",
    "image_size": "images have another size than their annotation says",
    "image_size_exif": "images are turned by their EXIF tag, and their boxes were drawn on the unturned picture",
    "box_outside": "images have boxes that reach beyond them",
    "unknown_label": "masks hold values outside the table",
    "unknown_color": "masks hold colours outside the table",
    "binary_mask": "masks hold only the values 0 and 255: binary masks, or class 0 and pixels to ignore?",
    "color_mask": "masks hold colours, wanted one channel of class ids",
    "gray_mask_channels": "masks have several equal channels, wanted one channel of class ids",
    "jpeg_mask": "masks are JPEG files, whose compression changes values",
    "mask_kind": "masks are of a kind that holds no class ids",
    "sample": "samples cannot be used",
}
"""What is said of several files with the same fault."""

_SAID = (
    "missing", "unreadable", "empty", "not_an_image", "truncated", "binary_mask", "gray_mask_channels", "jpeg_mask",
)  # fmt: skip
"""Kinds of which the words above say all; of the others the first case's own words follow."""

_VALUES = 12

_TRIED = ("sample", "preview")
"""Kinds of findings of samples that were used before all were read."""


def note_faults(report: Report, split: SplitRecords) -> None:
    """Adds a finding for every kind of fault; errors, or warnings where bad samples are left out."""
    note_constructor_faults(report, split.name, split.dataset, split.faults, split.skipping)
    by_kind: dict[str, list[RecordedFault]] = defaultdict(list)
    for record in split.records:
        for fault in record.faults:
            by_kind[fault.kind].append(fault)
    # A sample that was tried on the way here and failed is among these, with its kind and its file.
    known = {fault.problem for faults in by_kind.values() for fault in faults}
    report.findings[:] = [one for one in report.findings if one.kind not in _TRIED or one.problem not in known]
    for kind, faults in by_kind.items():
        files = tuple(dict.fromkeys(str(Path(fault.file).absolute()) for fault in faults if fault.file))
        problem = faults[0].problem if len(faults) == 1 else _of_several(split, kind, faults, files)
        boxes = tuple(FoundBox(fault.file, corners) for fault in faults for corners in fault.boxes)
        report.add(_finding(split, kind, problem, len(faults), files, boxes))


def note_constructor_faults(
    report: Report, split: str, dataset: Dataset, faults: Sequence[Fault], skipping: bool = False
) -> None:
    """Adds a finding for each fault that was noted while a data set was made (see `leaving_out`).

    Args:
        report: takes a finding for each fault.
        split: name of the split for the messages.
        dataset: the data set that was made without them.
        faults: what was noted while the data set was made.
        skipping: whether bad samples are left out, so that the findings are warnings.
    """
    root = dataset.root
    seen = SplitRecords(split, dataset, faults, (), skipping)
    for fault in faults:
        files = tuple(str((root / name).absolute()) for name in fault.names)
        boxes = tuple(FoundBox(str((root / name).absolute()), corners) for name, corners in fault.boxes)
        problem = fault.problem if fault.problem.where else fault.problem.at(seen.where)
        report.add(_finding(seen, fault.kind, problem, fault.number, files, boxes))


def _finding(
    split: SplitRecords,
    kind: str,
    problem: Problem,
    number: int,
    files: tuple[str, ...],
    boxes: tuple[FoundBox, ...] = (),
) -> Finding:
    if not split.skipping:
        return Finding(kind, problem, "error", number, files, boxes)
    left = f"left out of {split.name} (data.on_bad: skip)" if files else ""
    suggestion = "; ".join(part for part in (left, problem.suggestion) if part)
    return Finding(kind, problem.advising(suggestion), "warning", number, files, boxes)


def _of_several(split: SplitRecords, kind: str, faults: list[RecordedFault], files: tuple[str, ...]) -> Problem:
    names = listed(split.short(file) for file in files)
    message = f"{len(faults)} {SEVERAL.get(kind, 'samples are wrong')}"
    if any(fault.counts for fault in faults):
        message = f"{message}: {_tally(faults)}; {faults[0].table}; in {names}"
    elif kind in _SAID:
        message = f"{message}: {names}"
    else:
        message = f"{message}: {names}; the first {faults[0].problem.message}"
    return Problem(split.where, message, _remedy(faults))


def _remedy(faults: list[RecordedFault]) -> str:
    """What is suggested most often."""
    suggestions = Counter(fault.problem.suggestion for fault in faults if fault.problem.suggestion)
    return suggestions.most_common(1)[0][0] if suggestions else ""


def _tally(faults: list[RecordedFault]) -> str:
    """Values with their pixels and masks, the most frequent first."""
    pixels: Counter[str] = Counter()
    masks: Counter[str] = Counter()
    for fault in faults:
        pixels.update(fault.counts)
        masks.update(fault.counts.keys())
    shown = [f"{value} ({count(number, 'pixel')} in {masks[value]})" for value, number in pixels.most_common(_VALUES)]
    return listed(shown + ["" for _ in range(len(pixels) - len(shown))], _VALUES)
