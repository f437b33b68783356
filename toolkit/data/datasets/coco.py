"""Box data sets in COCO's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit.contracts import DATASETS
from toolkit.data.classes.matching import match_names
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.box_checks import FixBoxes, RawBoxes
from toolkit.data.formats.boxed import BoxDataset
from toolkit.data.formats.coco_file import NO_ANNOTATIONS, CocoFile, read_coco_file
from toolkit.data.formats.detection_index import ImageTable, build_index
from toolkit.data.formats.image_listing import named_images
from toolkit.data.formats.outlined import BACKGROUND_LABELS
from toolkit.data.formats.pairs import existing_folder
from toolkit.errors import DataError, Place, Problem, listed

_ROBOFLOW = "_annotations.coco.json"


@DATASETS.register("coco")
class CocoDataset(BoxDataset):
    """Images and boxes of one COCO instances JSON; outlines are not read.

    Category ids need not be contiguous: they become labels by way of their names, once. `category_ids[label]` is the
    id for output files, and `Sample.image_id` the image's own. Images come in the order of the file. Sizes: as
    annotated, compared with each image when it is read. A category that only heads a group (Roboflow writes one: no
    boxes, supercategory "none", named as supercategory by others) is no class.

        ROOT/annotations/instances_train.json   ROOT/train/0001.jpg    (annotations: ..., images: train)
        ROOT/train/_annotations.coco.json       ROOT/train/0001.jpg    (annotations: train)

    Args:
        root: the data set's folder, which the other paths are relative to.
        annotations: the JSON file, or a folder with Roboflow's `_annotations.coco.json`.
        images: folder that the file names in the JSON start from; None is the folder of the JSON.
        classes: names in label order, to be found in the file; None takes the file's categories by id.
        keep_empty: whether images without boxes stay, as background.
        fix_boxes: what to do with boxes outside their image or without area (COCO's own train2017 has two).

    Raises:
        DataError: with every problem of the file and every missing image.
    """

    def __init__(
        self,
        root: str,
        annotations: str,
        images: str | None = None,
        classes: list[str] | None = None,
        keep_empty: bool = True,
        fix_boxes: FixBoxes = "stop",
    ) -> None:
        base, path, folder = coco_places(root, annotations, images)
        problems = ProblemList()
        file = read_coco_file(path, problems)
        table = object_categories(file, classes, problems, path)
        absent = tuple(name for name in classes or () if name not in table)
        names = _classes(path, table, classes, problems)
        ids = tuple(table[name] for name in names)
        pictures = named_images(base, folder, file.image_names, path, problems)

        def box_name(box: int) -> Place:
            return Place(str(path), item=f"{file.annotation(box)} ({file.image_names[int(file.owners[box])]})")

        listed = ImageTable(pictures, file.image_ids, file.sizes, [str(path)])
        boxes = _raw_boxes(file, ids)
        index = build_index(listed, boxes, path, box_name, problems, keep_empty, fix_boxes, "xywh")
        super().__init__(names, base, index, ids)
        self.absent_classes, self.annotated = absent, not problems.tally[NO_ANNOTATIONS]


def coco_places(root: str, annotations: str, images: str | None) -> tuple[Path, Path, Path]:
    """The data set's folder, the JSON file and the folder of the images. Raises DataError for a root that is no folder.

    Args:
        root: the data set's folder, which the other two are relative to.
        annotations: the JSON file, or a folder with Roboflow's `_annotations.coco.json`, relative to root.
        images: folder of the images, relative to root; None is the folder of the JSON.
    """
    base = existing_folder(root)
    path = base / annotations / _ROBOFLOW if (base / annotations).is_dir() else base / annotations
    return base, path, path.parent if images is None else base / images


def object_categories(file: CocoFile, classes: list[str] | None, problems: ProblemList, path: Path) -> dict[str, int]:
    """Category ids by name, without unused ones that are no class: heads of groups, a background, what is not asked for.

    Args:
        file: what the JSON holds, with its annotations.
        classes: names that are asked for, or None.
        problems: gets a note of what is passed over.
        path: the JSON's own path, for that note.
    """
    used = set(file.category_ids.tolist())
    parents = {parent for _, name, parent in file.categories if parent != name}
    table, passed = {}, []
    for number, name, parent in file.categories:
        is_head = parent == "none" and name in parents
        is_unused = number not in used and name not in (classes or ())
        if is_unused and (is_head or name in BACKGROUND_LABELS or classes is not None):
            passed += [] if is_head else [name]
        else:
            table[name] = number
    if passed:
        problems.notes.append(f"{path}: categories without a single annotation are passed over: {listed(passed)}")
    return table


def _classes(path: Path, table: dict[str, int], wanted: list[str] | None, problems: ProblemList) -> tuple[str, ...]:
    """The classes in label order. A class of the list that the file does not have gets an id that is not used there."""
    if wanted is not None and "background" in wanted and "background" not in table:
        message = "gives boxes, which have no class 'background'"
        remedy = "leave it out with a head for boxes; for a class a pixel, use data set 'coco_masks'"
        problems.include(DataError(Problem(path, message, remedy)))
    absent = [name for name in wanted or () if name not in table]
    if absent and table and set(table) < set(wanted or ()):  # one split's file may lack a class that it has no box of
        first = 1 + max(table.values())
        table.update({name: first + number for number, name in enumerate(absent)})
        problems.notes.append(f"{path}: its categories lack {', '.join(absent)}, of which it has no boxes")
    try:
        return match_names(list(table), wanted, path)
    except DataError as error:
        problems.include(error)
        problems.stop(path)


def _raw_boxes(file: CocoFile, category_ids: tuple[int, ...]) -> RawBoxes:
    # An id that is no label's belongs to a name that stands twice, which is refused before anything is read.
    labels = {number: label for label, number in enumerate(category_ids)}
    order = np.array([labels.get(number, 0) for number in np.unique(file.category_ids).tolist()], np.int64)
    own = order[np.unique(file.category_ids, return_inverse=True)[1].reshape(-1)]
    xyxy = np.concatenate([file.xywh[:, :2], file.xywh[:, :2] + file.xywh[:, 2:]], axis=1)
    return RawBoxes(file.owners, xyxy, own, file.crowd, np.zeros(len(own), bool), file.area)
