"""LabelMe's JSON, one file an image: its picture, its size and its shapes as outlines.

Format: https://github.com/wkentaro/labelme (label_file.py, shape.py); shapes are polygons, rectangles, circles, masks, and
lines or points, which have no area.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.json_file import read_json
from toolkit.data.formats.outlines import SHAPELESS, Outline, Size, ellipse, mask_to_runs, rectangle, ring
from toolkit.data.images.limits import pixel_limit
from toolkit.errors import DataError, Place, listed

WITHOUT_AREA = ("point", "points", "line", "linestrip")
"""Shapes that are no region."""


class LabelmeFile(NamedTuple):
    """What a LabelMe file says of its image.

    Args:
        picture: `imagePath` as it is written, relative to the file; "" when it is not given.
        size: (height, width) in pixels, (0, 0) when not given.
        outlines: the shapes that have an area, in the order of the file.
    """

    picture: str
    size: Size
    outlines: tuple[Outline, ...]


def read_labelme_file(path: Path, problems: ProblemList) -> LabelmeFile | None:
    """The contents of one file; None, with a problem added, when it is no file of LabelMe.

    Shapes that are wrong are left out, each with a problem; lines and points, which have no area, are counted in
    `problems.tally[SHAPELESS]`.
    """
    try:
        content = read_json(path)
    except DataError as error:
        for problem in error.problems:
            problems.add("annotation files that cannot be read", problem.place, problem.message, problem.suggestion)
        return None
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        found = f"an object with {listed(content)}" if isinstance(content, dict) else "no object"
        message = f"wanted LabelMe's object with 'shapes', found {found}"
        problems.add(
            "JSON files of another kind", path, message, "move files that are no annotations out of the folder"
        )
        return None
    size = (_side(content.get("imageHeight")), _side(content.get("imageWidth")))
    size = size if all(size) else (0, 0)
    shapes = (_shape(path, place, row, size, problems) for place, row in enumerate(content["shapes"], 1))
    picture = content.get("imagePath")
    return LabelmeFile(
        picture if isinstance(picture, str) else "", size, tuple(one for one in shapes if one is not None)
    )


def _side(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _shape(path: Path, place: int, row: Any, size: Size, problems: ProblemList) -> Outline | None:
    label = row.get("label") if isinstance(row, dict) else None
    where = Place(str(path), item=f"shape {place} ({label or 'no label'})")
    if not isinstance(label, str) or not label.strip():
        problems.add("shapes without a label", where, "has no 'label'", "give it one, or delete it")
        return None
    kind = row.get("shape_type") or "polygon"
    if kind in WITHOUT_AREA:
        problems.tally[SHAPELESS] += 1
        return None
    group = row.get("group_id")
    outline = Outline(label, group="" if group is None else str(group), where=where)
    if kind == "mask":
        return _mask(outline, row, size, problems)
    points = _points(row.get("points"))
    corners = None
    if points is not None and kind == "polygon":
        corners = ring(points)
    elif points is not None and kind == "rectangle" and len(points) == 2:
        corners = rectangle(*points.ravel().tolist())
    elif points is not None and kind == "rectangle":
        corners = ring(points)  # newer files write all four corners, turned ones too
    elif points is not None and kind == "circle" and len(points) == 2:
        radius = math.dist(*points.tolist())
        x, y = points[0].tolist()
        corners = ellipse(x, y, radius, radius)
    if corners is None:
        number = "no points" if points is None else f"{len(points)} points"
        message = f"a shape of type '{kind}' with {number}; wanted polygon, rectangle, circle or mask with its corners"
        problems.add("shapes that are no region", where, message, "draw it again, or delete it")
        return None
    return outline._replace(rings=(corners,))


def _points(found: Any) -> np.ndarray | None:
    """(P, 2) float64, at least one; None for what is no list of points."""
    try:
        points = np.asarray(found, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    is_right = points.ndim == 2 and points.shape[1:] == (2,) and len(points) and np.isfinite(points).all()
    return points if is_right else None


def _mask(outline: Outline, row: dict[str, Any], size: Size, problems: ProblemList) -> Outline | None:
    """A shape that is a small picture at the upper left of its two points."""
    points = _points(row.get("points"))
    try:
        with Image.open(io.BytesIO(base64.b64decode(row.get("mask") or "", validate=True))) as image:
            piece = np.asarray(image.convert("L")) > 0 if image.width * image.height <= pixel_limit() else None
    except (OSError, ValueError, TypeError, SyntaxError, binascii.Error):
        piece = None
    if piece is None or points is None or not all(size):
        message = "a mask that is no picture in base64 with two corners and the image's size"
        problems.add("shapes that are no region", outline.where, message, "draw it again, or delete it")
        return None
    whole = np.zeros(size, bool)
    left, top = np.round(points.min(0)).astype(int).clip(min=0).tolist()
    part = whole[top : top + piece.shape[0], left : left + piece.shape[1]]
    part |= piece[: part.shape[0], : part.shape[1]]
    return outline._replace(mask=mask_to_runs(whole))
