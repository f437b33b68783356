"""Box data sets in YOLO's format."""

from __future__ import annotations

from pathlib import Path

from toolkit.contracts import DATASETS
from toolkit.data.classes.matching import match_names
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.box_checks import FixBoxes
from toolkit.data.formats.boxed import BoxDataset
from toolkit.data.formats.detection_index import ImageBoxes, index_boxes
from toolkit.data.formats.name_lists import match_lines, read_lines
from toolkit.data.formats.yolo_files import YoloData, read_data_yaml, read_yolo_labels
from toolkit.data.images.listing import image_files
from toolkit.errors import DataError, Place, Problem, missing_path, no_such


@DATASETS.register("yolo")
class YoloDataset(BoxDataset):
    """Images with a text file of boxes each: `class cx cy width height`, fractions of the image.

    The label file of .../images/a/b.jpg is .../labels/a/b.txt. An image whose label file is empty or missing has no
    objects (background); when no image has a label file, that is an error.

        ROOT/data.yaml (train, val, test, names, perhaps path and nc)
        ROOT/images/train/0001.jpg   ROOT/labels/train/0001.txt   (or ROOT/train/images, ROOT/train/labels)
        ROOT/classes.txt (one class name a line), where there is no data.yaml and `classes` is not given

    Args:
        root: a data.yaml, a folder with one, or a folder as above.
        split: the key of the data.yaml, or the folder, that is read: train, val, test.
        classes: names in label order, matched with the file's by name; None takes the file's.
        keep_empty: whether images without boxes stay, as background.
        fix_boxes: what to do with boxes outside their image or without area.

    Raises:
        DataError: with every problem of every file.
    """

    def __init__(
        self,
        root: str,
        split: str = "train",
        classes: list[str] | None = None,
        keep_empty: bool = True,
        fix_boxes: FixBoxes = "stop",
    ) -> None:
        data = _data(Path(root), split)
        table = data.names if data.names is not None else classes
        if not table:
            raise DataError(Problem("", f"no class names: no data.yaml or classes.txt in {data.base.absolute()}",
                                    "add one, or give the list 'classes'"))  # fmt: skip
        names = match_names(table, classes, data.source)
        problems = ProblemList()
        images = _images(data, problems)
        labels = [_label_path(image) for image in images]
        _refuse_missing(images, problems)
        _refuse_shared(images, labels, problems)
        if images and not any(path.is_file() for path in labels):
            message = f"none of the {len(images)} images has a label file; the first was looked for at"
            raise DataError([Problem(data.source, f"{message} {labels[0].absolute()}"), *problems.so_far])
        to_label = [names.index(name) for name in table]
        read = []
        for owner, (image, path) in enumerate(zip(images, labels, strict=True)):
            with problems.about(owner):
                read.append(_boxes_of(_name(image, data.base), path, to_label, problems))
        _note_missing_labels(labels, problems)
        if problems.tally["outlines"]:
            message = f"{problems.tally['outlines']} lines are outlines; the boxes around them are taken"
            problems.notes.append(f"{data.source}: {message}")
        index = index_boxes(read, data.source, problems, keep_empty, fix_boxes, "cxcywh", normalised=True)
        super().__init__(names, data.base, index, [table.index(name) for name in names])


def _boxes_of(name: str, path: Path, to_label: list[int], problems: ProblemList) -> ImageBoxes:
    """The boxes of one label file; none when there is no such file."""
    if not path.is_file():
        return ImageBoxes(name)
    found = read_yolo_labels(path, len(to_label), problems)
    xyxy = [(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2) for _, (_, cx, cy, w, h) in found]
    labels = [to_label[int(box[0])] for _, box in found]
    return ImageBoxes(name, xyxy, labels, annotation=str(path), places=[Place(str(path), line) for line, _ in found])


def _data(root: Path, split: str) -> YoloData:
    if root.is_file():
        return read_data_yaml(root, split)
    if not root.is_dir():
        raise DataError(missing_path("folder", root))
    for name in ("data.yaml", "data.yml"):
        if (root / name).is_file():
            return read_data_yaml(root / name, split)
    table = root / "classes.txt"
    names = None
    if table.is_file():
        names = [line.strip() for line in table.read_text("utf-8-sig").splitlines() if line.strip()]
    for place in (root / "images" / split, root / split / "images"):
        if place.is_dir():
            return YoloData(table if names else place, root, names, [place])
    wanted = f"{root.absolute()}/data.yaml or a folder {root.absolute()}/images/{split}"
    raise DataError(Problem("", f"no split '{split}': wanted {wanted}", no_such("folder", root / "images" / split)))


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
        return next((folder / name for folder in (listing.parent, base) if (folder / name).is_file()), None)

    matched = match_lines(listing, read_lines(listing, "list of images"), find)
    problems.notes += matched.notes
    return [*(entry.found for entry in matched.entries), *(listing.parent / line for line in matched.unknown)]


def _refuse_missing(images: list[Path], problems: ProblemList) -> None:
    for position, image in enumerate(images):
        if not image.is_file():
            problems.add("missing image files", "", no_such("file", image), image=position)


def _note_missing_labels(labels: list[Path], problems: ProblemList) -> None:
    missing = [path for path in labels if not path.is_file()]
    if missing:
        message = f"{len(missing)} of {len(labels)} images have no label file and count as background; the first"
        problems.notes.append(f"{message} would be {missing[0]}")


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
