"""LabelMe's JSON, one file an image: rectangles, polygons and masks by the name of their class.

Format: https://github.com/wkentaro/labelme, labelme/_label_file.py and shape.py of version 5.5.
"""

from __future__ import annotations

import base64
import io
import json
import posixpath
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from toolkit.data.formats.outlines import Outline, mask_to_runs, object_mask, outline_box
from toolkit.data.writers.annotated import IGNORED, Annotated, Losses
from toolkit.data.writers.folder import FolderWriter
from toolkit.data.writers.pixel_outlines import joined_ring, label_map_objects

_VERSION = "5.5.0"


def labelme_json(image: Annotated, losses: Losses, picture: bytes | None = None) -> str:
    """The file of one image, whose picture lies beside it or is inside. Flags and scores stand in LabelMe's `flags`, `description`.

    Args:
        image: the image and its objects.
        losses: takes what a shape cannot hold.
        picture: an encoded picture (PNG or JPEG) that becomes part of the file; None leaves it beside it.
    """
    shapes: list[dict[str, Any]] = []
    for place, one in enumerate(image.objects):
        flags = {
            name: True for name, is_so in (("crowd", one.crowd), ("difficult", image.is_difficult(place))) if is_so
        }
        words = f"score {image.scores[place]:.4f}" if image.scores else ""
        parts = _shapes(one, image.size)
        group = place if len(parts) > 1 else None
        losses.add(
            "corners of objects in several pieces with holes, which are masks of pixels now", int(_is_mixed(one))
        )
        shapes += [
            {"label": one.label, "points": points, "group_id": group, "description": words, "shape_type": kind,
             "flags": flags, "mask": mask}
            for kind, points, mask in parts
        ]  # fmt: skip
    content: dict[str, Any] = {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": posixpath.basename(image.picture),
        "imageData": None if picture is None else base64.b64encode(picture).decode("ascii"),
        "imageHeight": image.size[0],
        "imageWidth": image.size[1],
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


_Shape = tuple[str, list[list[float]], str | None]
"""shape_type, points and, for a mask, its picture."""


def _is_mixed(one: Outline) -> bool:
    return bool(one.holes) and len(one.rings) > 1


def _shapes(one: Outline, size: tuple[int, int]) -> list[_Shape]:
    if one.mask is not None or _is_mixed(one):
        return _mask(object_mask(one, size))
    if one.is_box:
        x1, y1, x2, y2 = outline_box(one)
        return [("rectangle", [[x1, y1], [x2, y2]], None)]
    rings = [joined_ring(one.rings[0], one.holes)] if one.holes else list(one.rings)
    return [("polygon", points.tolist(), None) for points in rings]


def _mask(mask: np.ndarray) -> list[_Shape]:
    """The pixels of an object as a small picture between two corners, the last of which belongs to it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return []
    top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1])
    buffer = io.BytesIO()
    Image.fromarray(mask[top : bottom + 1, left : right + 1]).save(buffer, "PNG")
    points = [[float(left), float(top)], [float(right), float(bottom)]]
    return [("mask", points, base64.b64encode(buffer.getvalue()).decode("ascii"))]


def shapes_of_label_map(label_map: np.ndarray, names: Sequence[str], background: int | None) -> tuple[Outline, ...]:
    """Each region of a label map as a polygon, or, where it has holes, as a mask: both are the same pixels again.

    Args:
        label_map: (H, W) uint8 class ids, 255 where nothing counts.
        names: names of the classes 0..K-1.
        background: class that is not outlined; None outlines all.
    """
    found = label_map_objects(label_map, names, IGNORED, background)
    size = (label_map.shape[0], label_map.shape[1])
    return tuple(
        Outline(one.label, mask=mask_to_runs(object_mask(one, size))) if one.holes else one for one in found
    )  # fmt: skip


class LabelmeFolder(FolderWriter):
    """`SPLIT/a.jpg` and `SPLIT/a.json` beside it."""

    def images_in(self, split: str) -> str:
        """The folder of a split, pictures and annotations."""
        return split

    def annotate(self, split: str, image: Annotated, channels: int) -> None:
        """Writes the JSON of one image.

        Args:
            split: name of the split it belongs to.
            image: the image and its annotation.
            channels: number of channels of its picture; not needed here.
        """
        losses = Losses()
        if self.content == "label_maps" and image.label_map is not None:
            objects = shapes_of_label_map(image.label_map, self.classes.names, self.background)
            image = image._replace(objects=objects)
        self.write(f"{split}/{image.stem}.json", labelme_json(image, losses), losses)

    def finish(self) -> None:
        """LabelMe's list of labels."""
        self.write("labels.txt", "".join(f"{name}\n" for name in ["__ignore__", "_background_", *self.object_names]))

    def read_by(self, split: str) -> dict[str, Any]:
        """Data set `labelme`, or `labelme_boxes`."""
        return {"name": "labelme_boxes" if self.content == "boxes" else "labelme", "images": split}
