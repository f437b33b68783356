"""COCO's instances JSON, one file a split: boxes, polygons and run lengths.

Format: https://cocodataset.org/#format-data; run lengths are pycocotools'.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.data.formats.outlines import Outline, RunLengths, mask_to_runs, object_mask, outline_box
from toolkit.data.writers.annotated import IGNORED, Annotated, Losses
from toolkit.data.writers.folder import Content, FolderWriter
from toolkit.labels import ClassTable


class CocoContent:
    """Gathers the images of a split, and is written at the end.

    Args:
        names: names of the classes in label order.
        ids: category id of each; () counts from 1.
        keep_ids: whether the images' own ids stay, where all have one; else they count from 1.
    """

    def __init__(self, names: Sequence[str], ids: Sequence[int] = (), *, keep_ids: bool = True) -> None:
        self.ids = dict(zip(names, ids or range(1, len(names) + 1), strict=True))
        self.keep_ids = keep_ids
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, image: Annotated, losses: Losses) -> None:
        """One image and its objects, in their order. losses: takes what an entry cannot hold."""
        number = image.image_id if self.keep_ids and image.image_id >= 0 else len(self.images) + 1
        height, width = image.size
        self.images.append({"id": number, "file_name": image.picture, "height": height, "width": width})
        for place, one in enumerate(image.objects):
            losses.add("marks of a difficult object", int(image.is_difficult(place)))
            losses.add("corners of objects with holes, which are run lengths of pixels now", int(bool(one.holes)))
            if one.label not in self.ids:
                self.ids[one.label] = 1 + max(self.ids.values(), default=0)
            entry = {"id": len(self.annotations) + 1, "image_id": number, "category_id": self.ids[one.label]}
            self.annotations.append(entry | _shape(one, image.size) | {"iscrowd": int(one.crowd)})

    def text(self) -> str:
        """The whole file, an entry a line."""
        categories = [{"id": number, "name": name, "supercategory": ""} for name, number in self.ids.items()]
        parts = {"images": self.images, "categories": categories, "annotations": self.annotations}
        lists = [f'"{key}": [\n' + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]"
                 for key, rows in parts.items()]  # fmt: skip
        return "{" + ",\n".join(['"info": {}, "licenses": []', *lists]) + "}\n"


def _shape(one: Outline, size: tuple[int, int]) -> dict[str, Any]:
    """segmentation, area and bbox of an object."""
    x1, y1, x2, y2 = (float(value) for value in outline_box(one))
    box = {"bbox": [x1, y1, x2 - x1, y2 - y1]}
    if one.is_box:
        return {"segmentation": [], "area": (x2 - x1) * (y2 - y1)} | box
    if one.mask is not None or one.holes or one.crowd:
        mask = object_mask(one, size)
        runs = one.mask if one.mask is not None else mask_to_runs(mask)
        return {"segmentation": _runs(runs), "area": int(mask.sum())} | box
    area = sum(abs(_twice_area(points)) / 2 for points in one.rings)
    return {"segmentation": [points.ravel().tolist() for points in one.rings], "area": area} | box


def _runs(runs: RunLengths) -> dict[str, Any]:
    return {"size": list(runs.size), "counts": runs.counts.decode("ascii")}


def _twice_area(points: np.ndarray) -> float:
    following = np.roll(points, -1, axis=0)
    return float((points[:, 0] * following[:, 1] - points[:, 1] * following[:, 0]).sum())


def class_objects(label_map: np.ndarray, names: Sequence[str], left: int | None) -> list[Outline]:
    """Each class of a label map as one object of run lengths: a label map knows no single ones.

    Args:
        label_map: (H, W) uint8 class ids, 255 where nothing counts.
        names: names of the classes 0..K-1.
        left: class that is no object, the background; None makes one of each.
    """
    return [
        Outline(names[value] if value < len(names) else IGNORED, mask=mask_to_runs(label_map == value))
        for value in np.unique(label_map).tolist()
        if value != left
    ]


class CocoFolder(FolderWriter):
    """`annotations/instances_SPLIT.json` and `images/SPLIT/a.jpg`.

    Args:
        folder: the folder of the set, new or empty.
        classes: names, colours and ids of the labels 0..K-1.
        content: boxes, objects with outlines, or label maps.
        background: label of the pixels of no object, or None where every pixel has a class.
    """

    def __init__(self, folder: Path, classes: ClassTable, content: Content, background: int | None = None) -> None:
        super().__init__(folder, classes, content, background)
        self._files: dict[str, tuple[CocoContent, Losses]] = {}

    def images_in(self, split: str) -> str:
        """The folder of a split's pictures."""
        return f"images/{split}"

    def annotate(self, split: str, image: Annotated, channels: int) -> None:
        """Keeps the entries of one image.

        Args:
            split: name of the split it belongs to.
            image: the image and its annotation.
            channels: number of channels of its picture; not needed here.
        """
        if split not in self._files:
            ids = tuple(self.classes.ids)
            kept = [number for label, number in enumerate(ids) if label != self.background]
            self._files[split] = (CocoContent(self.object_names, kept), Losses())
        content, losses = self._files[split]
        if self.content == "label_maps" and image.label_map is not None:
            objects = class_objects(image.label_map, self.classes.names, self.background)
            image = image._replace(objects=tuple(objects))
        content.add(image, losses)

    def finish(self) -> None:
        """The file of each split."""
        for split, (content, losses) in self._files.items():
            self.write(self._file(split), content.text(), losses)

    def _file(self, split: str) -> str:
        return f"annotations/instances_{split}.json"

    def read_by(self, split: str) -> dict[str, Any]:
        """Data set `coco`, or `coco_masks`."""
        name = "coco" if self.content == "boxes" else "coco_masks"
        return {"name": name, "annotations": self._file(split), "images": self.images_in(split)}
