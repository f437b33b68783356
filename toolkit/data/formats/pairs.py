"""Images and their masks in folders: found, matched by name, and every mismatch reported at once."""

from __future__ import annotations

import filecmp
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.data.faults.leaving_out import Fault, FileError, raise_or_note
from toolkit.data.formats.name_lists import form_of, match_lines, read_lines
from toolkit.data.images.bands import ValueRange
from toolkit.data.images.formats import IMAGE_SUFFIXES
from toolkit.data.images.listing import by_key, image_files, same_name, without_extension
from toolkit.data.images.read import exif_orientation, read_image
from toolkit.data.images.traits import unread_pages
from toolkit.errors import DataError, Problem, missing_path
from toolkit.samples import Sample

_SHOWN = 20


class Pair(NamedTuple):
    """An image and its mask.

    Args:
        key: what the two have in common: the path in their folders without suffix and extension.
        image: path of the image's file.
        mask: path of the mask's file.
    """

    key: str
    image: Path
    mask: Path


class PairList(list[Pair]):
    """Pairs in the order of the data set. notes: sentences about what is left out, or read by another convention."""

    notes: tuple[str, ...] = ()


class SplitList(NamedTuple):
    """The lines of a split file. They become names when it is known what lies in the folders."""

    path: Path
    lines: list[str]


def read_split(path: Path) -> SplitList:
    """A split file: one image name a line, with or without extension; empty lines and # comments are skipped.

    Raises DataError when the file is missing, empty or no text.
    """
    return SplitList(path, read_lines(path))


class _Folder:
    """The image files of a folder or pattern by key, and what is to be said of it."""

    def __init__(self, place: Path, suffix: str, kinds: Sequence[str]) -> None:
        self.place, self.suffix = place, suffix
        self.base, pattern = _parted(place)
        self.problems: list[Problem] = []
        self.files: dict[str, Path] = {}
        self.notes: list[str] = []
        if not self.base.is_dir():
            self.problems.append(missing_path("folder", self.base))
            return
        listing = image_files(self.base, pattern, kinds)
        self.notes = listing.notes
        self.files = by_key(listing, self.base, suffix, self._told_twice)
        if not self.files:
            what = f"no image files{f' whose name ends in {suffix!r}' if suffix else ''}"
            others = sorted({path.suffix or path.name for path in (*listing.others, *listing.paths)})
            found = f"; it holds {_some(others)} files" if others else ""
            left = f"; {'; '.join(listing.notes)}" if listing.notes else ""
            message = f"{what} in {place.absolute()}{found}{left}"
            self.problems.append(Problem("", message, f"known extensions: {' '.join(kinds)}"))

    def find(self, name: str) -> str | None:
        """The key of a name, which may have an extension or the suffix."""
        bare = without_extension(name)
        return next((key for key in (name, bare, bare.removesuffix(self.suffix)) if key in self.files), None)

    def _told_twice(self, key: str, one: Path, other: Path) -> None:
        same = " (one name in two Unicode forms)" if same_name(one.name) == same_name(other.name) else ""
        self.problems.append(Problem(self.base, f"two files are called '{key}': {one.name} and {other.name}{same}"))


def find_pairs(
    images: Path,
    masks: Path,
    split: SplitList | None = None,
    image_suffix: str = "",
    mask_suffix: str = "",
    mask_kinds: Sequence[str] = IMAGE_SUFFIXES,
    called: str = "mask",
) -> PairList:
    """Pairs of an image and the mask of the same name, in the order of the split, or sorted when there is none.

    Names are the same when they differ in their Unicode form only. Hidden files are passed over.

    Args:
        images: a folder, searched with all below it, or a glob pattern. A folder that exists is no pattern.
        masks: the same for the masks.
        split: what it does not name is left out; None takes every image.
        image_suffix: end of the images' names that their masks' names lack.
        mask_suffix: end of the masks' names that their images' names lack ("_mask").
        mask_kinds: extensions of the masks' files, in lower case with their dot.
        called: what a mask is called in messages, such as "map" for maps of numbers.

    Raises:
        DataError: with every problem: folders that are missing or without images, images without mask, masks without
            image, two files of one name, names without files, an image that is its own mask.
    """
    pictures = _Folder(images, image_suffix, IMAGE_SUFFIXES)
    labels = _Folder(masks, mask_suffix, mask_kinds)
    if mask_suffix and not image_suffix:  # both in one folder: what ends like a mask is no image
        own = set(labels.files.values())
        pictures.files = {key: path for key, path in pictures.files.items() if path not in own}
    if pictures.problems or labels.problems:
        raise DataError([*pictures.problems, *labels.problems])
    notes = [*pictures.notes, *labels.notes]
    if split is None:
        wanted = dict.fromkeys(sorted(pictures.files), "")
        faults: list[Fault] = []
    else:
        wanted, faults = _named(split, pictures, notes)
    pairs, no_mask = PairList(), []
    for key, column in wanted.items():
        mask = _mask_of(key, column, labels)
        if mask is None:
            no_mask.append(key)
        else:
            pairs.append(Pair(key, pictures.files[key], mask))
    listed = "of the split " if split is not None else ""
    faults += _report("no_mask", masks, f"image(s) {listed}have no {called}", no_mask, labels.files, pictures.files)
    if split is None:
        extra = sorted(set(labels.files) - set(pictures.files))
        faults += _report("no_image", images, f"{called}(s) have no image", extra, pictures.files, None)
    faults += _own_masks(pairs, images, masks)
    raise_or_note(faults)
    bad = {name for fault in faults for name in fault.names}
    left = PairList(pair for pair in pairs if str(pair.image) not in bad)
    if not left:
        raise DataError(fault.problem for fault in faults)
    left.notes = (*dict.fromkeys(notes), *unread_pages(path for pair in left for path in pair[1:]))
    return left


def _named(split: SplitList, pictures: _Folder, notes: list[str]) -> tuple[dict[str, str], list[Fault]]:
    """What a split names: a further column by key; and what is wrong with it."""
    matched = match_lines(split.path, split.lines, pictures.find, pictures.base.name)
    notes += matched.notes
    if not matched.entries and not matched.unknown:
        raise DataError(Problem(split.path, "the split file names no images"))
    faults = []
    if matched.unknown:
        form = form_of(matched.unknown)
        found = f"image(s) of the split not found{f' ({form})' if form else ''}"
        names = [without_extension(line) for line in matched.unknown]
        faults = _report("image_missing", pictures.place, found, names, pictures.files, {})
    counts = Counter(entry.found for entry in matched.entries)
    twice = sorted(key for key, count in counts.items() if count > 1)
    if twice:
        message = f"{len(twice)} name(s) stand more than once: {_some(twice)}"
        faults.append(Fault("listed_twice", Problem(split.path, message, "remove the repeats"), number=len(twice)))
    return {entry.found: entry.rest for entry in matched.entries}, faults


def _mask_of(key: str, column: str, labels: _Folder) -> Path | None:
    """The mask of an image: the file that the list names beside it, else the one of the same name."""
    if "/" not in column.replace("\\", "/") and Path(column).suffix.lower() not in IMAGE_SUFFIXES:
        return labels.files.get(key)
    matched = match_lines(Path(), [column], labels.find, labels.base.name)
    return labels.files[matched.entries[0].found] if matched.entries else None


def _own_masks(pairs: Sequence[Pair], images: Path, masks: Path) -> list[Fault]:
    """Images that are their own masks: one file, or links to one. Raises DataError when all are, or are copies."""
    same = [pair for pair in pairs if pair.image == pair.mask or _is_one_file(pair)]
    is_copied = not same and bool(pairs) and all(_is_copy(pair) for pair in pairs)
    if not same and not is_copied:
        return []
    remedy = "give `masks` the folder of the masks; in one folder, say by what their names end: mask_suffix: _mask"
    outlines = next((path for path in sorted(masks.glob("*.json"))), None) if masks.is_dir() else None
    if outlines is not None:
        remedy = f"outlines of a labelling tool lie there ({outlines.name}), which are not read: export masks; {remedy}"
    if len(same) == len(pairs) or is_copied:
        what = "are copies of one another" if is_copied else "are the same"
        message = f"images and masks {what} {len(pairs)} files: {_some([pair.image.name for pair in pairs[:3]])} ..."
        raise DataError(Problem(masks, message, remedy))
    message = f"{len(same)} image(s) are their own mask: {_some([pair.key for pair in same])}"
    return [Fault("own_mask", Problem(images, message, remedy), tuple(str(pair.image) for pair in same), len(same))]


def _is_one_file(pair: Pair) -> bool:
    try:
        return pair.image.samefile(pair.mask)
    except OSError:  # reading it says what is wrong
        return False


def _is_copy(pair: Pair) -> bool:
    try:
        same_size = pair.image.stat().st_size == pair.mask.stat().st_size > 0
        return same_size and filecmp.cmp(pair.image, pair.mask, shallow=False)
    except OSError:
        return False


def _parted(place: Path) -> tuple[Path, str]:
    """The folder before the first wildcard, and the pattern from there on; what exists as it stands is no pattern."""
    base = Path(place.parts[0]) if place.is_absolute() else Path()
    parts = place.parts[1:] if place.is_absolute() else place.parts
    for number, part in enumerate(parts):
        if any(letter in part for letter in "*?[") and not (base / part).exists():
            return base, Path(*parts[number:]).as_posix()
        base = base / part
    return base, ""


def _report(
    kind: str,
    place: Path,
    what: str,
    keys: Sequence[str],
    known: Mapping[str, Path],
    images: Mapping[str, Path] | None,
) -> list[Fault]:
    """images: those that the keys mean, where they exist; None when there is nothing to leave out."""
    if not keys:
        return []
    names = () if images is None else tuple(str(images.get(key, place / key)) for key in keys)
    nearby = f"e.g. {next(iter(known.values())).name}" if known else ""
    suggestion = f"images and masks are matched by name; here lie {len(known)} files, {nearby}"
    return [Fault(kind, Problem(place, f"{len(keys)} {what}: {_some(keys)}", suggestion), names, len(keys))]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def existing_folder(path: str | Path, what: str = "folder") -> Path:
    """The path, when it is a folder. Raises DataError with the absolute path and near matches otherwise.

    >>> existing_folder(".").is_dir()
    True
    """
    folder = Path(path)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise DataError(Problem(folder, f"is a file; a {what} was wanted"))
    raise DataError(missing_path(what, folder))


def read_pair(
    pair: Pair,
    root: Path,
    position: int,
    reader: Callable[[Path], np.ndarray],
    channels: int = 3,
    value_range: ValueRange | None = None,
) -> Sample:
    """Image and label map of a pair. Raises DataError when either is unreadable or their sizes differ.

    Args:
        pair: the image and the mask file.
        root: the folder that the sample's name is relative to.
        position: place of the sample in its data set, from 0.
        reader: makes an (H, W) uint8 label map of a mask file.
        channels: channels of the image as it is read, 3 for RGB or 1 for gray.
        value_range: the stored numbers that become 0 and 255; None: files are of 8 bits.
    """
    image = read_image(pair.image, channels, value_range)
    labels = reader(pair.mask)
    if labels.shape != image.shape[:2]:
        raise _sizes_differ(pair, image.shape[:2], labels.shape[:2])
    return Sample(image, name_in(root, pair.image), position, image.shape[:2], label_map=labels)


def name_in(root: Path, path: Path) -> str:
    """The path relative to the root with `/`; the path itself when it lies elsewhere.

    >>> name_in(Path("/data/cells"), Path("/data/cells/images/a.png"))
    'images/a.png'
    """
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix()


def _sizes_differ(pair: Pair, image: tuple[int, ...], mask: tuple[int, ...]) -> FileError:
    message = f"the mask is {mask[0]}x{mask[1]} (height x width), its image {pair.image} is {image[0]}x{image[1]}"
    if mask == image[::-1] and exif_orientation(pair.image) > 4:
        remedy = "the image's EXIF tag turns it and the mask was drawn on the unturned picture; save it without the tag"
        return FileError("mask_size_exif", Problem(pair.mask, message, remedy))
    remedy = "wrong pair, or one of them was resized; resize masks with nearest neighbour"
    return FileError("mask_size", Problem(pair.mask, message, remedy))
