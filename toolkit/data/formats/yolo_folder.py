"""Where YOLO's images and label files lie: by a data.yaml, darknet's obj.data, or folders called images and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.class_files import find_class_file
from toolkit.data.formats.name_lists import match_lines, read_lines
from toolkit.data.formats.yolo_files import YoloData, YoloRow, read_data_yaml, read_yolo_labels
from toolkit.data.images.formats import IMAGE_SUFFIXES
from toolkit.data.images.listing import image_files
from toolkit.errors import DataError, Problem, did_you_mean, missing_path, no_such
from toolkit.progress import tracked


class YoloFolder(NamedTuple):
    """One split, read.

    Args:
        source: file or folder that named the classes, for messages.
        base: the data set's folder, which names of images are relative to.
        table: names of the classes, by their number in the label files.
        names: the images, by path, relative to `base`.
        labels: path of the label file of each image, whether it exists or not.
        rows: what the label file of each image holds.
    """

    source: Path
    base: Path
    table: list[str]
    names: list[str]
    labels: list[Path]
    rows: list[list[YoloRow]]


def read_yolo_folder(root: str, split: str, classes: Sequence[str] | None, problems: ProblemList) -> YoloFolder:
    """The images of a split and what their label files hold.

    Args:
        root: a data.yaml, a folder with one, with an obj.data, or with folders of images and labels.
        split: the key of the file, or the folder, that is read.
        classes: names by number where no file names them; None: a file has to.
        problems: takes what is wrong with single images and lines, and the notes.

    Raises:
        DataError: without class names, images or label files, and for a split that is not there.
    """
    data = _data(Path(root), split)
    table = data.names if data.names is not None else list(classes or ())
    if not table:
        raise DataError(Problem("", f"no class names: no data.yaml or classes.txt in {data.base.absolute()}",
                                "add one, or give the list 'classes'"))  # fmt: skip
    images = _images(data, problems)
    labels = [_label_path(image) for image in images]
    _refuse_missing(images, problems)
    _refuse_shared(images, labels, problems)
    if images and not any(path.is_file() for path in labels):
        message = f"none of the {len(images)} images has a label file; the first was looked for at"
        raise DataError([Problem(data.source, f"{message} {labels[0].absolute()}"), *problems.so_far])
    rows = []
    for owner, path in enumerate(tracked(labels, "annotations", len(labels), "file")):
        with problems.about(owner):
            rows.append(read_yolo_labels(path, len(table), problems) if path.is_file() else [])
    missing = [path for path in labels if not path.is_file()]
    if missing:
        message = f"{len(missing)} of {len(labels)} images have no label file and count as background; the first"
        problems.notes.append(f"{message} would be {missing[0]}")
    return YoloFolder(data.source, data.base, table, [_name(image, data.base) for image in images], labels, rows)


def _data(root: Path, split: str) -> YoloData:
    if root.is_file():
        return read_data_yaml(root, split)
    if not root.is_dir():
        raise DataError(missing_path("folder", root))
    for name in ("data.yaml", "data.yml"):
        if (root / name).is_file():
            return read_data_yaml(root / name, split)
    found = find_class_file(root)
    names = list(found.names) if found is not None else None
    if (root / "obj.data").is_file():
        return _darknet(root, split, names)
    for place in (root / "images" / split, root / split / "images", root / split):
        if place.is_dir() and (place != root / split or _holds_images(place)):
            return YoloData(found.path if found is not None else place, root, names, [place])
    wanted = f"{root.absolute()}/data.yaml or a folder {root.absolute()}/images/{split}"
    raise DataError(Problem("", f"no split '{split}': wanted {wanted}", no_such("folder", root / "images" / split)))


def _holds_images(folder: Path) -> bool:
    """Whether images lie in a folder itself, where labelImg writes the label files beside them."""
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())


def _darknet(root: Path, split: str, names: list[str] | None) -> YoloData:
    """Darknet's `key = value` lines: train, valid, names; paths begin at the folder, which may stand in them as data/."""
    path = root / "obj.data"
    entries = dict(
        [part.strip() for part in line.split("=", 1)] for line in read_lines(path, "data file") if "=" in line
    )
    key = {"val": "valid"}.get(split, split)
    if key not in entries:
        splits = [name for name in ("train", "valid", "test") if name in entries]
        raise DataError(Problem(path, f"has no split '{key}'", did_you_mean(key, splits)))
    place = _darknet_path(root, entries[key])
    if place is None:
        raise DataError(Problem(path, f"the list '{entries[key]}' of '{key}' is not there", f"wanted below {root}"))
    table = _darknet_path(root, entries.get("names", "obj.names"))
    return YoloData(path, root, read_lines(table, "table of classes") if table is not None else names, [place])


def _darknet_path(root: Path, entry: str) -> Path | None:
    places = (root / entry, root / entry.removeprefix("data/"), root / Path(entry).name)
    return next((place for place in places if place.exists()), None)


def _images(data: YoloData, problems: ProblemList) -> list[Path]:
    """All images of the split, by path; those that a list names are here though they may not exist."""
    found: list[Path] = []
    for place in data.places:
        if place.is_dir():
            listing = image_files(place)
            found += listing.paths
            problems.notes += listing.notes
        else:
            found += _listed(place, data.base, problems)
    return sorted(set(found))


def _listed(listing: Path, base: Path, problems: ProblemList) -> list[Path]:
    """Images named in a text file, a path a line, relative to the file's folder, or to the data set's."""

    def find(name: str) -> Path | None:
        names = (name, name.removeprefix("data/"))
        places = (folder / text for folder in (listing.parent, base) for text in names)
        return next((place for place in places if place.is_file()), None)

    matched = match_lines(listing, read_lines(listing, "list of images"), find)
    problems.notes += matched.notes
    return [*(entry.found for entry in matched.entries), *(listing.parent / line for line in matched.unknown)]


def _refuse_missing(images: list[Path], problems: ProblemList) -> None:
    for position, image in enumerate(images):
        if not image.is_file():
            problems.add("missing image files", "", no_such("file", image), image=position)


def _label_path(image: Path) -> Path:
    """The label file of an image: the last folder called images becomes labels."""
    parts = list(image.parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _refuse_shared(images: list[Path], labels: list[Path], problems: ProblemList) -> None:
    owner: dict[Path, int] = {}
    for position, label in enumerate(labels):
        if label in owner:
            other = owner[label]
            message = f"shares its label file {label} with {images[other].name}"
            problems.add("images of one name", images[position], message, "rename one of the two", position)
            problems.blame("images of one name", [other])
        owner[label] = position


def _name(image: Path, root: Path) -> str:
    return image.relative_to(root).as_posix() if image.is_relative_to(root) else image.absolute().as_posix()
