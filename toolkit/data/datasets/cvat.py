"""CVAT's XML, as label maps and as boxes."""

from __future__ import annotations

from pathlib import Path

from toolkit.contracts import DATASETS
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.box_checks import FixBoxes
from toolkit.data.formats.cvat_file import read_cvat_file
from toolkit.data.formats.image_listing import named_images
from toolkit.data.formats.outlined import Drawing, OutlinedBoxes, OutlinedDataset
from toolkit.data.formats.outlines import ImageOutlines, Overlaps, note_shapeless
from toolkit.data.formats.pairs import existing_folder
from toolkit.errors import DataError, Problem, did_you_mean


@DATASETS.register("cvat")
class Cvat(OutlinedDataset):
    """Images and shapes of one "CVAT for images" XML, as label maps: shapes drawn one over the other.

    Polygons, boxes (turned ones too), ellipses and masks are drawn; lines, points and cuboids have no area and are
    counted.

        ROOT/annotations.xml   ROOT/images/a.jpg

    Args:
        root: the data set's folder, which the other paths are relative to.
        annotations: the XML file, relative to the data set's folder.
        images: folder that the names in the XML start from.
        subset: the subset of the task that is read ("Train"); None takes every image.
        classes: names in label order; None: the background, then the task's labels in its order.
        background: class of the pixels outside of all shapes; "ignore": they do not count.
        overlaps: which shape a pixel of several gets: "file_order", that of the higher `z_order`, of equal ones the
            later in the file; or "larger_first", that of the smaller one.

    Raises:
        DataError: with every problem of the file and every missing image.
    """

    def __init__(
        self,
        root: str,
        annotations: str = "annotations.xml",
        images: str = "images",
        subset: str | None = None,
        classes: list[str] | None = None,
        background: str = "background",
        overlaps: Overlaps = "file_order",
    ) -> None:
        folder, path, problems = existing_folder(root), Path(root) / annotations, ProblemList()
        found, labels = _read(folder, path, images, subset, problems)
        super().__init__(classes, folder, found, path, problems, Drawing(background, overlaps), labels)


@DATASETS.register("cvat_boxes")
class CvatBoxes(OutlinedBoxes):
    """Images and shapes of one "CVAT for images" XML, as boxes: the smallest one around each. See data set `cvat`.

    Shapes of one label and one `group_id` are one object.

    Args:
        root: the data set's folder, which the other paths are relative to.
        annotations: the XML file, relative to the data set's folder.
        images: folder that the names in the XML start from.
        subset: the subset of the task that is read ("Train"); None takes every image.
        classes: names in label order; None: the task's labels in its order.
        keep_empty: whether images without shapes stay, as background.
        fix_boxes: what to do with boxes outside their image or without area.

    Raises:
        DataError: with every problem of the file and every missing image.
    """

    def __init__(
        self,
        root: str,
        annotations: str = "annotations.xml",
        images: str = "images",
        subset: str | None = None,
        classes: list[str] | None = None,
        keep_empty: bool = True,
        fix_boxes: FixBoxes = "stop",
    ) -> None:
        folder, path, problems = existing_folder(root), Path(root) / annotations, ProblemList()
        found, labels = _read(folder, path, images, subset, problems)
        super().__init__(classes, folder, found, path, problems, keep_empty, fix_boxes, labels)


def _read(
    root: Path, path: Path, images: str, subset: str | None, problems: ProblemList
) -> tuple[list[ImageOutlines], list[str]]:
    """Every image of the subset, and the names of the labels: those of the task, then others that shapes have."""
    file = read_cvat_file(path, problems)
    rows = [row for row in file.images if subset is None or row.subset == subset]
    if not rows:
        there = sorted({row.subset for row in file.images})
        raise DataError(Problem(path, f"no image is of subset '{subset}'", did_you_mean(subset or "", there)))
    names = named_images(root, root / images, [row.name for row in rows], path, problems)
    note_shapeless(path, problems, "lines, points, cuboids")
    found = [
        ImageOutlines(name, row.outlines, row.size, str(path), row.image_id)
        for name, row in zip(names, rows, strict=True)
    ]
    seen = (one.label for row in rows for one in row.outlines)
    return found, list(dict.fromkeys([*file.labels, *seen]))
