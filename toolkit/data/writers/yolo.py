"""YOLO's text files, a line an object: a box or a polygon in fractions of the image, after the number of its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import yaml

from toolkit.data.formats.outlines import Outline, object_mask, outline_box
from toolkit.data.writers.annotated import IGNORED, Annotated, Losses
from toolkit.data.writers.folder import FolderWriter
from toolkit.data.writers.pixel_outlines import joined_ring, label_map_objects, pixel_outlines


def yolo_boxes(image: Annotated, names: Sequence[str], losses: Losses, *, scores: bool = False) -> str:
    """`class cx cy width height` a line, with a last column for the score where that is asked for; "" without objects.

    Args:
        image: the image and its objects.
        names: names of the classes in the order of their numbers.
        losses: takes the flags that a line cannot hold.
        scores: whether a last column says the score of each object.
    """
    height, width = image.size
    lines = []
    for place, one in enumerate(image.objects):
        _lose_flags(image, place, losses)
        losses.add("outlines of objects, of which the box is kept", int(not one.is_box))
        x1, y1, x2, y2 = np.array(outline_box(one), np.float64) / [width, height, width, height]
        row = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, *([image.scores[place]] if scores else [])]
        lines.append(f"{names.index(one.label)} {_numbers(row)}\n")
    return "".join(lines)


def yolo_polygons(image: Annotated, names: Sequence[str], losses: Losses) -> str:
    """`class x1 y1 x2 y2 ...` a line; an object in several pieces becomes as many lines, holes become cuts of no width.

    Args:
        image: the image and its objects.
        names: names of the classes in the order of their numbers.
        losses: takes what a polygon cannot hold.
    """
    sides = np.array([image.size[1], image.size[0]], np.float64)
    lines = []
    for place, one in enumerate(image.objects):
        _lose_flags(image, place, losses)
        rings = polygon_rings(one, image.size)
        losses.add("objects in several pieces, each of which is an object now", int(len(rings) > 1))
        lines += [f"{names.index(one.label)} {_numbers((points / sides).ravel().tolist())}\n" for points in rings]
    return "".join(lines)


def polygon_rings(one: Outline, size: tuple[int, int]) -> list[np.ndarray]:
    """An object as (P, 2) rings without holes: those are joined by cuts of no width; a mask goes along its pixels' edges.

    Args:
        one: the object, by rings, mask or box.
        size: (height, width) of its image in pixels.
    """
    if one.mask is not None:
        return [joined_ring(points, holes) for points, holes in pixel_outlines(object_mask(one, size))]
    if one.is_box:
        x1, y1, x2, y2 = outline_box(one)
        return [np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float64)]
    if len(one.rings) == 1:
        return [joined_ring(one.rings[0], one.holes)]
    if not one.holes:
        return list(one.rings)
    return [joined_ring(points, holes) for points, holes in pixel_outlines(object_mask(one, size))]


def data_yaml(names: Sequence[str], splits: Sequence[str]) -> str:
    """The file that names classes and folders: Ultralytics' keys, relative to the file itself."""
    folders = {split: f"images/{split}" for split in splits}
    content = {**folders, "nc": len(names), "names": dict(enumerate(names))}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _numbers(row: Sequence[float]) -> str:
    return " ".join(f"{value:.15g}" for value in row)


def _lose_flags(image: Annotated, place: int, losses: Losses) -> None:
    losses.add("marks of a crowd region", int(image.objects[place].crowd))
    losses.add("marks of a difficult object", int(image.is_difficult(place)))


class YoloFolder(FolderWriter):
    """`images/SPLIT/a.jpg`, `labels/SPLIT/a.txt` with boxes or polygons, and `data.yaml`."""

    def images_in(self, split: str) -> str:
        """The folder of a split's pictures."""
        return f"images/{split}"

    def annotate(self, split: str, image: Annotated, channels: int) -> None:
        """Writes the label file of one image, empty for one without objects.

        Args:
            split: name of the split it belongs to.
            image: the image and its annotation.
            channels: number of channels of its picture; not needed here.
        """
        losses, names = Losses(), self._names()
        if self.content == "label_maps" and image.label_map is not None:
            objects = label_map_objects(image.label_map, self.classes.names, IGNORED, self.background)
            image = image._replace(objects=tuple(objects))
        self._extra = max(
            [self._extra, *(names.index(one.label) + 1 - len(self.object_names) for one in image.objects)]
        )
        written = yolo_boxes if self.content == "boxes" else yolo_polygons
        self.write(f"labels/{split}/{image.stem}.txt", written(image, names, losses), losses)

    _extra = 0
    """How many names after the objects' own are used: what does not count, and regions of background."""

    def _names(self) -> list[str]:
        background = [] if self.background is None else [self.classes.names[self.background]]
        return [*self.object_names, IGNORED, *background]

    def finish(self) -> None:
        """The file that names classes and folders."""
        self.write("data.yaml", data_yaml(self._names()[: len(self.object_names) + self._extra], list(self.splits)))

    def read_by(self, split: str) -> dict[str, Any]:
        """Data set `yolo`, or `yolo_masks`."""
        return {"name": "yolo" if self.content == "boxes" else "yolo_masks", "split": split}
