"""Label maps of COCO's outlines."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from toolkit.contracts import DATASETS
from toolkit.data.datasets.coco import coco_places, object_categories
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.coco_columns import shown
from toolkit.data.formats.coco_file import NO_ANNOTATIONS, CocoFile, outline_of, outline_parts, read_coco_file
from toolkit.data.formats.image_listing import named_images
from toolkit.data.formats.outlined import BoxOnly, Drawing, OutlinedDataset
from toolkit.data.formats.outlines import ImageOutlines, Outline, Overlaps
from toolkit.errors import Place


@DATASETS.register("coco_masks")
class CocoMasks(OutlinedDataset):
    """Images and label maps of one COCO instances JSON: its polygons and run lengths, drawn one over the other.

    Files, images and categories as data set `coco` reads them; `segmentation` may be a list of polygons, or run lengths
    (compressed or not). Label Studio's and Roboflow's COCO exports are such files.

        ROOT/annotations/instances_train.json   ROOT/train/0001.jpg    (annotations: ..., images: train)
        ROOT/train/_annotations.coco.json       ROOT/train/0001.jpg    (annotations: train)

    Args:
        root: the data set's folder, which the other paths are relative to.
        annotations: the JSON file, or a folder with Roboflow's `_annotations.coco.json`.
        images: folder that the file names in the JSON start from; None is the folder of the JSON.
        classes: names in label order; None: the background, then the file's categories by id.
        background: class of the pixels outside of all outlines; "ignore": they do not count.
        overlaps: which object a pixel of several gets: "file_order", that of the later one in the file, or
            "larger_first", that of the smaller one.
        box_only: what becomes of objects with a box and no outline: "fill" the box, "ignore" its pixels, or "stop".
        crowd: whether regions of many objects (iscrowd) are drawn as their class, or do not count ("ignore").

    Raises:
        DataError: with every problem of the file and every missing image.
    """

    def __init__(
        self,
        root: str,
        annotations: str,
        images: str | None = None,
        classes: list[str] | None = None,
        background: str = "background",
        overlaps: Overlaps = "file_order",
        box_only: BoxOnly = "fill",
        crowd: Literal["draw", "ignore"] = "draw",
    ) -> None:
        base, path, folder = coco_places(root, annotations, images)
        problems = ProblemList()
        file = read_coco_file(path, problems, with_outlines=True)
        found = list(object_categories(file, classes, problems, path))
        pictures = named_images(base, folder, file.image_names, path, problems)
        drawing = Drawing(background, overlaps, box_only, crowd)
        objects = outlines_of(file, pictures, path, problems)
        super().__init__(classes, base, objects, path, problems, drawing, known=found)
        self.annotated = not problems.tally[NO_ANNOTATIONS]


def outlines_of(file: CocoFile, pictures: list[str], path: Path, problems: ProblemList) -> list[ImageOutlines]:
    """The objects of every image; an outline that is none becomes a problem of its image.

    Args:
        file: a COCO file that was read with its outlines.
        pictures: name of each of its images, relative to the data set's folder.
        path: the JSON's own path, for messages.
        problems: takes outlines that are none.
    """
    names = {number: name for number, name, _ in file.categories}
    objects: list[list[Outline]] = [[] for _ in pictures]
    flat = 0
    for row, (owner, category) in enumerate(zip(file.owners.tolist(), file.category_ids.tolist(), strict=True)):
        where = Place(str(path), item=f"{file.annotation(row)} ({file.image_names[owner]})")
        found = outline_of(file.outlines[row])
        if found is None:
            wanted = "wanted polygons (lists of x, y in turn) or run lengths that fill their size"
            message = f"'segmentation' is {shown(file.outlines[row])}, {wanted}"
            problems.add("outlines that are none", where, message, "export it again", image=owner)
            continue
        flat += len(outline_parts(file.outlines[row])) - len(found.rings)
        x, y, w, h = file.xywh[row].tolist()
        box = (x, y, x + w, y + h) if np.isfinite(file.xywh[row]).all() and found.is_box else None
        if found.is_box and box is None:
            continue
        objects[owner].append(found._replace(label=names[category], box=box, crowd=bool(file.crowd[row]), where=where))
    if flat:
        problems.notes.append(f"{path}: {flat} polygons of fewer than three corners have no area and are not drawn")
    sizes = [(height, width) for height, width in file.sizes.tolist()]
    rows = zip(pictures, objects, sizes, file.image_ids.tolist(), strict=True)
    return [ImageOutlines(name, tuple(own), size, str(path), number) for name, own, size, number in rows]
