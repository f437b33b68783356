"""Data sets in YOLO's format, as boxes and as label maps."""

from __future__ import annotations

import numpy as np

from toolkit.contracts import DATASETS
from toolkit.data.classes.matching import match_names
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.box_checks import FixBoxes
from toolkit.data.formats.boxed import BoxDataset
from toolkit.data.formats.detection_index import ImageBoxes, index_boxes
from toolkit.data.formats.outlined import BoxOnly, Drawing, OutlinedDataset
from toolkit.data.formats.outlines import ImageOutlines, Outline, Overlaps
from toolkit.data.formats.yolo_files import YoloRow
from toolkit.data.formats.yolo_folder import read_yolo_folder
from toolkit.errors import Place, listed


@DATASETS.register("yolo")
class YoloDataset(BoxDataset):
    """Images with a text file of boxes each: `class cx cy width height`, fractions of the image.

    The label file of .../images/a/b.jpg is .../labels/a/b.txt. An image whose label file is empty or missing has no
    objects (background); when no image has a label file, that is an error. Lines may be outlines (`class x1 y1 x2 y2
    ...`): the boxes around them are taken.

        ROOT/data.yaml (train, val, test, names, perhaps path and nc)
        ROOT/images/train/0001.jpg   ROOT/labels/train/0001.txt   (or ROOT/train/images, ROOT/train/labels)
        ROOT/train/0001.jpg and .txt   (or ROOT/0001.jpg and .txt, split: "")
        ROOT/classes.txt (one class name a line), where there is no data.yaml and `classes` is not given
        ROOT/obj.data, obj.names, train.txt, obj_train_data/0001.jpg and .txt   (darknet, CVAT's "YOLO 1.1")

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
        problems = ProblemList()
        found = read_yolo_folder(root, split, classes, problems)
        used = {found.table[row.label] for rows in found.rows for row in rows}
        unused = [name for name in found.table if classes is not None and name not in classes and name not in used]
        if unused:
            problems.notes.append(f"{found.source}: names without a single object are passed over: {listed(unused)}")
        names = match_names([name for name in found.table if name not in unused], classes, found.source)
        to_label = [names.index(name) if name in names else -1 for name in found.table]
        files = zip(found.names, found.labels, found.rows, strict=True)
        read = [
            ImageBoxes(
                name,
                [_corners(row) for row in rows],
                [to_label[row.label] for row in rows],
                annotation=str(path) if path.is_file() else "",
                places=[Place(str(path), row.line) for row in rows],
            )
            for name, path, rows in files
        ]
        outlines = sum(row.is_outline for rows in found.rows for row in rows)
        if outlines:
            problems.notes.append(f"{found.source}: {outlines} lines are outlines; the boxes around them are taken")
        index = index_boxes(read, found.source, problems, keep_empty, fix_boxes, "cxcywh", normalised=True)
        super().__init__(names, found.base, index, [found.table.index(name) for name in names])


@DATASETS.register("yolo_masks")
class YoloMasks(OutlinedDataset):
    """Images with a text file of outlines each (`class x1 y1 x2 y2 ...`, fractions of the image), as label maps.

    Layouts as data set `yolo` reads them. Lines may be boxes; see `box_only`.

    Args:
        root: a data.yaml, a folder with one, or a folder as data set `yolo` reads it.
        split: the key of the data.yaml, or the folder, that is read: train, val, test.
        classes: names in label order, matched with the file's by name; None: the background, then the file's.
        background: class of the pixels outside of all outlines; "ignore": they do not count.
        overlaps: which object a pixel of several gets: "file_order", that of the later line, or "larger_first", that of
            the smaller object.
        box_only: what becomes of lines that are boxes: "fill" the box, "ignore" its pixels, or "stop".

    Raises:
        DataError: with every problem of every file.
    """

    def __init__(
        self,
        root: str,
        split: str = "train",
        classes: list[str] | None = None,
        background: str = "background",
        overlaps: Overlaps = "file_order",
        box_only: BoxOnly = "fill",
    ) -> None:
        problems = ProblemList()
        named = [name for name in classes or () if name != background] or None
        found = read_yolo_folder(root, split, named, problems)
        images = [
            ImageOutlines(
                name,
                tuple(_outline(row, found.table[row.label], Place(str(path), row.line)) for row in rows),
                annotation=str(path) if path.is_file() else "",
            )
            for name, path, rows in zip(found.names, found.labels, found.rows, strict=True)
        ]
        drawing = Drawing(background, overlaps, box_only)
        super().__init__(classes, found.base, images, found.source, problems, drawing, found.table, normalised=True)


def _corners(row: YoloRow) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 as fractions of the image, of a box or around an outline."""
    if row.is_outline:
        points = np.array(row.numbers).reshape(-1, 2)
        return tuple(points.min(0).tolist() + points.max(0).tolist())  # type: ignore[return-value]
    x, y, wide, high = row.numbers
    return x - wide / 2, y - high / 2, x + wide / 2, y + high / 2


def _outline(row: YoloRow, name: str, where: Place) -> Outline:
    if row.is_outline:
        return Outline(name, (np.array(row.numbers).reshape(-1, 2),), where=where)
    return Outline(name, box=_corners(row), where=where)
