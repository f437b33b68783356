"""Images and their masks in folders: found, matched by name, and every mismatch reported at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.data.faults.leaving_out import Fault, FileError, raise_or_note
from toolkit.data.images.read import IMAGE_SUFFIXES, exif_orientation, read_image
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


def find_pairs(
    images: Path, masks: Path, keys: Sequence[str] | None = None, image_suffix: str = "", mask_suffix: str = ""
) -> list[Pair]:
    """Pairs of an image and the mask of the same name, in the order of `keys`, or sorted when there are none.

    Raises DataError with every problem: folders that are missing or without images, images without mask, masks without
    image, two files of one name, keys without files.

    Args:
        images: a folder, searched with all below it, or a glob pattern. Hidden files and files of other kinds are left
            out.
        masks: a folder, searched with all below it, or a glob pattern. Hidden files and files of other kinds are left
            out.
        keys: a split; what it does not name is left out.
        image_suffix: end of the names that belongs to the kind, not to the picture ("_mask").
        mask_suffix: end of the names that belongs to the kind, not to the picture ("_mask").
    """
    problems: list[Problem] = []
    found_images = _by_key(images, image_suffix, problems)
    found_masks = _by_key(masks, mask_suffix, problems)
    if mask_suffix and not image_suffix:  # both in one folder: what ends like a mask is no image
        own = set(found_masks.values())
        found_images = {key: path for key, path in found_images.items() if path not in own}
    if problems:
        raise DataError(problems)
    wanted = list(keys) if keys is not None else sorted(found_images)
    listed = "of the split " if keys is not None else ""
    no_image = [key for key in wanted if key not in found_images]
    no_mask = [key for key in wanted if key in found_images and key not in found_masks]
    faults = _report("image_missing", images, f"image(s) {listed}not found", no_image, found_images, {})
    faults += _report("no_mask", masks, f"image(s) {listed}have no mask", no_mask, found_masks, found_images)
    if keys is None:
        extra = sorted(set(found_masks) - set(found_images))
        faults += _report("no_image", images, "mask(s) have no image", extra, found_images, None)
    raise_or_note(faults)
    left = [
        Pair(key, found_images[key], found_masks[key]) for key in wanted if key in found_images and key in found_masks
    ]
    if not left:
        raise DataError(fault.problem for fault in faults)
    return left


def read_split(path: Path) -> list[str]:
    r"""Keys of a split file, one a line: names with or without image extension; empty lines and # comments are skipped.

    Raises DataError when the file is missing, empty, no text, or names a sample twice.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "train.txt").write_text("# night only\na.png\nb/c\n", encoding="utf-8")
    ...     read_split(Path(folder, "train.txt"))
    ['a', 'b/c']
    """
    if not path.is_file():
        raise DataError(missing_path("split file", path))
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise DataError(Problem(path, "is no UTF-8 text", "a split file has one image name a line")) from None
    keys = [_without_extension(line) for line in lines if line and not line.startswith("#")]
    if not keys:
        raise DataError(Problem(path, "the split file names no images"))
    twice = sorted({key for key, count in _counts(keys).items() if count > 1})
    if twice:
        problem = Problem(path, f"{len(twice)} name(s) stand more than once: {_some(twice)}", "remove the repeats")
        raise_or_note([Fault("listed_twice", problem, number=len(twice))])
    return list(dict.fromkeys(keys))


def _counts(keys: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return counts


def _by_key(place: Path, suffix: str, problems: list[Problem]) -> dict[str, Path]:
    """Image files of a folder or pattern by key; what is wrong is added to `problems`."""
    pattern = any(letter in str(place) for letter in "*?[")
    base = _fixed_part(place) if pattern else place
    if not base.is_dir():
        problems.append(missing_path("folder", base))
        return {}
    relative = place.relative_to(base).as_posix() if pattern else ""
    paths = list(base.glob(relative)) if pattern else list(_walk(base))
    found: dict[str, Path] = {}
    for path in sorted(path for path in paths if _is_image(path)):
        key = _without_extension(path.relative_to(base).as_posix())
        if not key.endswith(suffix):
            continue
        key = key[: len(key) - len(suffix)]
        if key in found:
            problems.append(Problem(base, f"two files are called '{key}': {found[key].name} and {path.name}"))
        found[key] = path
    if not found:
        what = f"no image files{f' whose name ends in {suffix!r}' if suffix else ''}"
        others = sorted({path.suffix or path.name for path in paths if path.is_file()})
        message = f"{what} in {place.absolute()}" + (f"; it holds {_some(others)} files" if others else "")
        problems.append(Problem("", message, f"known extensions: {' '.join(IMAGE_SUFFIXES)}"))
    return found


def _fixed_part(pattern: Path) -> Path:
    """The folder before the first wildcard."""
    parts = pattern.parts
    first = next(i for i, part in enumerate(parts) if any(letter in part for letter in "*?["))
    return Path(*parts[:first]) if first else Path()


def _walk(folder: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            yield Path(directory, name)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _without_extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    return stem if dot and f".{extension.lower()}" in IMAGE_SUFFIXES else name


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


def read_pair(pair: Pair, root: Path, position: int, reader: Callable[[Path], np.ndarray], channels: int = 3) -> Sample:
    """Image and label map of a pair. Raises DataError when either is unreadable or their sizes differ.

    Args:
        pair: the image and the mask file.
        root: the folder that the sample's name is relative to.
        position: place of the sample in its data set, from 0.
        reader: makes an (H, W) uint8 label map of a mask file.
        channels: of the image as it is read, 3 for RGB or 1 for gray.
    """
    image = read_image(pair.image, channels)
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
