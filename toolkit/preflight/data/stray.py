"""Files beside those of a data set that no split uses: images without labels, labels without images."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from toolkit.data.images.formats import IMAGE_SUFFIXES
from toolkit.errors import Problem, listed
from toolkit.preflight.data.record import SplitRecords
from toolkit.preflight.findings import Finding, Report

_FEW = 0.2
"""Up to this share of a folder's files, those that no split uses were probably forgotten; above, they are another
split's or another data set's, and only counted."""


def note_stray_files(report: Report, splits: Sequence[SplitRecords]) -> None:
    """Looks into the folders of the splits' images and labels, not into those below."""
    images, annotations, told = _used(splits)
    stems = {path.stem for path in told}  # so is their annotation, which has the same name
    for kind, used, what, suggestion in (
        ("unlisted_image", images, "image file(s) in no split", "an annotation or a line in a list may be missing"),
        ("unlisted_label", annotations, "label file(s) of no image", "an image or a line in a list may be missing"),
    ):
        by_folder: dict[Path, set[str]] = defaultdict(set)
        for path in used:
            by_folder[path.parent].add(path.name)
        for folder, names in sorted(by_folder.items()):
            stray = [path for path in _others(folder, names, used) if path not in told and path.stem not in stems]
            told.update(stray)
            message = f"{len(stray)} {what}: {listed(path.name for path in stray)}"
            if stray and len(stray) <= _FEW * len(names):
                files = tuple(map(str, stray))
                report.add(Finding(kind, Problem(folder, message, suggestion), "warning", len(stray), files))
            elif stray:
                report.note("files", f"{folder}: {len(stray)} {what}, beside {len(names)} used")


def _used(splits: Sequence[SplitRecords]) -> tuple[set[Path], set[Path], set[Path]]:
    """The images, the annotation files that belong to one sample each, and what has been told to be at fault."""
    faulty: set[Path] = set()
    images: set[Path] = set()
    owners: Counter[Path] = Counter()
    for split in splits:
        root = split.dataset.root
        for index in range(len(split.dataset)):
            image, *others = split.dataset.files(index) or (root,)
            images.add(image.absolute())
            owners.update({path.absolute(): 1 for path in others})
        faulty.update((root / name).absolute() for fault in split.faults for name in fault.names)
    return images, {path for path, number in owners.items() if number == 1}, faulty


def _others(folder: Path, names: set[str], used: Iterable[Path]) -> list[Path]:
    """Files of the folder with an extension that the used ones have (any image's, for images), but none of them."""
    suffixes = {Path(name).suffix.lower() for name in names}
    if suffixes & set(IMAGE_SUFFIXES):
        suffixes |= set(IMAGE_SUFFIXES)
    known = set(used)
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    return [
        path
        for path in entries
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path not in known and path.is_file()
    ]
