"""Box data sets in YOLO's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit.contracts import DATASETS, Dataset
from toolkit.data.classes.matching import match_names
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.box_checks import FixBoxes, RawBoxes
from toolkit.data.formats.detection_index import build_index
from toolkit.data.formats.yolo_files import YoloBox, YoloData, read_data_yaml, read_yolo_labels
from toolkit.data.images.read import IMAGE_SUFFIXES
from toolkit.errors import DataError, Problem, missing_path, no_such
from toolkit.samples import Sample


@DATASETS.register("yolo")
class YoloDataset(Dataset):
    """Images with a text file of boxes each: `class cx cy width height`, fractions of the image.

    The label file of .../images/a/b.jpg is .../labels/a/b.txt. An image whose label file is empty or missing has no
    objects (background); when no image has a label file, that is an error.

    root: a data.yaml (`train`, `val`, `test`, `names`, perhaps `path` and `nc`), a folder with one, or a folder with
    images/<split> and labels/<split> (or <split>/images and <split>/labels) whose class names stand in root/classes.txt
    or in `classes`. classes: names in label order; matched with the file's by name. keep_empty: background images stay.
    fix_boxes: what to do with boxes outside their image or without area.
    Raises DataError with every problem of every file.
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
        self.classes = match_names(table, classes, str(data.source))
        self.category_ids = tuple(table.index(name) for name in self.classes)
        self.root = data.base
        problems = ProblemList()
        images = _images(data, problems)
        labels = [_label_path(image) for image in images]
        _refuse_shared(images, labels, problems)
        if images and not any(path.is_file() for path in labels):
            message = f"none of the {len(images)} images has a label file; the first was looked for at"
            raise DataError(Problem(str(data.source), f"{message} {labels[0].absolute()}"))
        self._read(data, images, labels, table, problems, keep_empty, fix_boxes)

    def _read(
        self,
        data: YoloData,
        images: list[Path],
        labels: list[Path],
        table: list[str],
        problems: ProblemList,
        keep_empty: bool,
        fix_boxes: FixBoxes,
    ) -> None:
        owners: list[int] = []
        lines: list[int] = []
        boxes: list[YoloBox] = []
        for owner, path in enumerate(labels):
            if path.is_file():
                with problems.about(owner):
                    found = read_yolo_labels(path, len(table), problems)
                for line, box in found:
                    owners.append(owner)
                    lines.append(line)
                    boxes.append(box)

        def box_name(box: int) -> str:
            return f"{labels[owners[box]]}:{lines[box]}"

        rows = np.array(boxes, np.float64).reshape(-1, 5)
        half = rows[:, 3:5] / 2
        to_label = np.array([self.classes.index(name) for name in table], np.int64)
        raw = RawBoxes.of(
            np.array(owners, np.int64),
            np.concatenate([rows[:, 1:3] - half, rows[:, 1:3] + half], axis=1),
            to_label[rows[:, 0].astype(np.int64)],
        )
        names = [_name(image, self.root) for image in images]
        sizes = np.zeros((len(names), 2), np.int64)
        self.index = build_index(
            str(data.source), names, np.arange(len(names)), sizes, raw, box_name, problems, keep_empty, fix_boxes, True
        )

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> Sample:
        """Reads an image and its boxes."""
        return self.index.sample(index, self.root)

    def files(self, index: int) -> tuple[Path, ...]:
        """The image and its label file, where it has one."""
        image = self.root / self.index.names[index]
        label = _label_path(image)
        return (image, label) if label.is_file() else (image,)

    def image_sizes(self) -> np.ndarray:
        """As annotated."""
        return self.index.sizes

    def describe(self) -> str:
        """Counts, mended boxes, and the table of class id, label, name and boxes."""
        return self.index.describe(self.classes, self.category_ids)


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
    """All images of the split, by path."""
    found: list[Path] = []
    for place in data.places:
        if place.is_dir():
            found += [path for path in place.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
        else:
            found += _listed(place, problems)
    return sorted(set(found))


def _listed(listing: Path, problems: ProblemList) -> list[Path]:
    """Images named in a text file, a path a line, relative to the file's folder."""
    found = []
    for place, line in enumerate(listing.read_text("utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        path = listing.parent / line.strip()
        if path.is_file():
            found.append(path)
        else:
            problems.add("missing image files", f"{listing}:{place}", no_such("file", path))
    return found


def _label_path(image: Path) -> Path:
    """The label file of an image: the last folder called images becomes labels."""
    parts = list(image.parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _refuse_shared(images: list[Path], labels: list[Path], problems: ProblemList) -> None:
    owner: dict[Path, Path] = {}
    for image, label in zip(images, labels, strict=True):
        if label in owner:
            message = f"shares its label file {label} with {owner[label].name}"
            problems.add("images of one name", str(image), message, "rename one of the two")
        owner[label] = image


def _name(image: Path, root: Path) -> str:
    return image.relative_to(root).as_posix() if image.is_relative_to(root) else image.absolute().as_posix()
