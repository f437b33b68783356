"""VIA's JSON (VGG Image Annotator), as label maps and as boxes."""

from __future__ import annotations

from pathlib import Path

from toolkit.contracts import DATASETS
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.box_checks import FixBoxes
from toolkit.data.formats.image_listing import named_images
from toolkit.data.formats.outlined import Drawing, OutlinedBoxes, OutlinedDataset
from toolkit.data.formats.outlines import ImageOutlines, Overlaps, note_shapeless
from toolkit.data.formats.pairs import existing_folder
from toolkit.data.formats.via_file import read_via_file


@DATASETS.register("via")
class Via(OutlinedDataset):
    """Images and regions of one VIA JSON, as label maps: regions drawn one over the other.

    Polygons, rectangles, circles and ellipses are drawn; lines and points have no area and are counted.

        ROOT/train/via_region_data.json   ROOT/train/a.jpg   (annotations: train/via_region_data.json)

    Args:
        root: the data set's folder, which the other paths are relative to.
        annotations: the JSON file: a project of VIA 1 or 2, or its exported annotations.
        images: folder that the file names in the JSON start from; None is the folder of the JSON.
        classes: names in label order; None: the background, then the names found, sorted: another split may have
            others, so give the list.
        attribute: the attribute of regions that names the class; None: the only one. Regions without any attribute are
            called "region".
        background: class of the pixels outside of all regions; "ignore": they do not count.
        overlaps: which region a pixel of several gets: "file_order", that of the later one in the file, or
            "larger_first", that of the smaller one.

    Raises:
        DataError: with every problem of the file and every missing image.
    """

    def __init__(
        self,
        root: str,
        annotations: str,
        images: str | None = None,
        classes: list[str] | None = None,
        attribute: str | None = None,
        background: str = "background",
        overlaps: Overlaps = "file_order",
    ) -> None:
        folder, path, problems = existing_folder(root), Path(root) / annotations, ProblemList()
        found = _read(folder, path, images, attribute, problems)
        super().__init__(classes, folder, found, path, problems, Drawing(background, overlaps))


@DATASETS.register("via_boxes")
class ViaBoxes(OutlinedBoxes):
    """Images and regions of one VIA JSON, as boxes: the smallest one around each region. See data set `via`.

    Args:
        root: the data set's folder, which the other paths are relative to.
        annotations: the JSON file: a project of VIA 1 or 2, or its exported annotations.
        images: folder that the file names in the JSON start from; None is the folder of the JSON.
        classes: names in label order; None: the names found, sorted: another split may have others, so give the list.
        attribute: the attribute of regions that names the class; None: the only one. Regions without any attribute are
            called "region".
        keep_empty: whether images without regions stay, as background.
        fix_boxes: what to do with boxes outside their image or without area.

    Raises:
        DataError: with every problem of the file and every missing image.
    """

    def __init__(
        self,
        root: str,
        annotations: str,
        images: str | None = None,
        classes: list[str] | None = None,
        attribute: str | None = None,
        keep_empty: bool = True,
        fix_boxes: FixBoxes = "stop",
    ) -> None:
        folder, path, problems = existing_folder(root), Path(root) / annotations, ProblemList()
        found = _read(folder, path, images, attribute, problems)
        super().__init__(classes, folder, found, path, problems, keep_empty, fix_boxes)


def _read(
    root: Path, path: Path, images: str | None, attribute: str | None, problems: ProblemList
) -> list[ImageOutlines]:
    rows = read_via_file(path, problems, attribute)
    folder = path.parent if images is None else root / images
    names = named_images(root, folder, [row.filename for row in rows], path, problems)
    note_shapeless(path, problems, "lines, points")
    return [ImageOutlines(name, row.outlines, (0, 0), str(path)) for name, row in zip(names, rows, strict=True)]
