"""CVAT's XML ("CVAT for images 1.1"): shapes of all images in one file, as outlines.

Format: https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat/. Shapes of one image are drawn by `z_order`, those of
one order as they stand in the file. A mask's `rle` counts pixels row by row within its rectangle, beginning with 0s.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.outlines import SHAPELESS, Outline, Size, ellipse, mask_to_runs, rectangle, ring
from toolkit.data.formats.voc_file import number
from toolkit.data.formats.xml_file import parse_xml
from toolkit.errors import DataError, Place, Problem, listed

_AREAS = ("box", "polygon", "ellipse", "mask")
_WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton")
Attributes = dict[str, str]


class CvatImage(NamedTuple):
    """One image of a CVAT file.

    Args:
        name: name of the image as it is written.
        subset: the subset it belongs to ("Train"), "" when the file has none.
        size: (height, width) in pixels, (0, 0) when not given.
        image_id: the image's number in the file, -1 when it has none.
        outlines: its shapes that have an area, in the order in which they are drawn.
    """

    name: str
    subset: str
    size: Size
    image_id: int
    outlines: tuple[Outline, ...]


class CvatFile(NamedTuple):
    """What a CVAT file holds.

    Args:
        labels: names of the labels that the task lists, in its order.
        images: the images in the order of the file.
    """

    labels: tuple[str, ...]
    images: list[CvatImage]


class _Reader:
    """Collects the labels of the task, and the shapes of each image."""

    def __init__(self) -> None:
        self.root = ""
        self.labels: list[str] = []
        self.images: list[tuple[Attributes, list[tuple[str, Attributes]]]] = []
        self.tracks = 0
        self._path: list[str] = []
        self._text: list[str] = []

    def start(self, tag: str, attributes: Attributes, /) -> None:
        self.root = self.root or tag
        self._path.append(tag)
        self._text.clear()
        self.tracks += tag == "track"
        if self._path[1:] == ["image"]:
            self.images.append((attributes, []))
        elif self._path[1:-1] == ["image"]:
            self.images[-1][1].append((tag, attributes))

    def end(self, tag: str, /) -> None:
        if tag == "name" and self._path[-2:-1] == ["label"]:
            self.labels.append("".join(self._text).strip())
        self._path.pop()
        self._text.clear()

    def text(self, data: str, /) -> None:
        self._text.append(data)


def read_cvat_file(path: Path, problems: ProblemList) -> CvatFile:
    """The images of a file; shapes that are wrong are left out, each with a problem.

    Lines, points and cuboids have no area and are counted in `problems.tally[SHAPELESS]`.
    Raises DataError for a file that is missing, no XML, or no "CVAT for images".
    """
    reader = _Reader()
    if not parse_xml(path, reader, problems):
        problems.stop(path)
    if reader.root != "annotations" or not reader.images:
        found = f"the root element is <{reader.root}> with {len(reader.images)} <image>"
        remedy = "export the task as 'CVAT for images 1.1'"
        if reader.tracks:
            found, remedy = f"found {reader.tracks} <track> of a video", f"{remedy}, which holds single frames"
        raise DataError(Problem(path, f"wanted CVAT's <annotations> with an <image> each, {found}", remedy))
    images = []
    for position, (attributes, shapes) in enumerate(reader.images):
        with problems.about(position):
            images.append(_image(path, attributes, shapes, problems))
    return CvatFile(tuple(dict.fromkeys(reader.labels)), images)


def _image(
    path: Path, attributes: Attributes, shapes: list[tuple[str, Attributes]], problems: ProblemList
) -> CvatImage:
    name = attributes.get("name", "")
    size = (_whole(attributes.get("height")), _whole(attributes.get("width")))
    found = []
    for place, (kind, shape) in enumerate(shapes, 1):
        where = Place(str(path), item=f"{kind} {place} ({shape.get('label') or 'no label'}) of {name}")
        if kind in _WITHOUT_AREA:
            problems.tally[SHAPELESS] += 1
        elif kind in _AREAS:
            outline = _outline(kind, shape, size, where, problems)
            found += [] if outline is None else [(number(shape.get("z_order")) or 0.0, outline)]
    found.sort(key=lambda one: one[0])
    image_id = number(attributes.get("id"))
    known = -1 if image_id is None or image_id != int(image_id) else int(image_id)
    return CvatImage(name, attributes.get("subset", ""), size, known, tuple(outline for _, outline in found))


def _whole(text: str | None) -> int:
    value = number(text)
    return int(value) if value is not None and math.isfinite(value) and value > 0 else 0


def _outline(kind: str, shape: Attributes, size: Size, where: Place, problems: ProblemList) -> Outline | None:
    label = shape.get("label", "").strip()
    if not label:
        problems.add("shapes without a label", where, "has no label", "give it one, or delete it")
        return None
    outline = Outline(label, group=shape.get("group_id", ""), where=where)
    if kind == "mask":
        whole = _mask(shape, size)
        found = None if whole is None else outline._replace(mask=mask_to_runs(whole))
    else:
        corners = _corners(kind, shape)
        found = None if corners is None else outline._replace(rings=(corners,))
    if found is None:
        told = {
            key: value if len(value) <= 40 else f"{value[:40]}..." for key, value in shape.items() if key != "label"
        }
        given = listed(f"{key}={value}" for key, value in told.items())
        message = f"is no {kind}: found {given}"
        problems.add("shapes that are no region", where, message, "export it again, or draw it again")
    return found


def _corners(kind: str, shape: Attributes) -> np.ndarray | None:
    if kind == "polygon":
        pairs = [[number(value) for value in pair.split(",")] for pair in shape.get("points", "").split(";")]
        return ring(pairs) if all(len(pair) == 2 and None not in pair for pair in pairs) else None
    names = ("xtl", "ytl", "xbr", "ybr") if kind == "box" else ("cx", "cy", "rx", "ry")
    values = [number(shape.get(name)) for name in names]
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    if len(numbers) < 4:
        return None
    turned = math.radians(number(shape.get("rotation")) or 0.0)
    if kind == "ellipse":
        x, y, across, down = numbers
        return ellipse(x, y, across, down, turned)
    corners = rectangle(*numbers)
    if not turned:
        return corners
    center = corners.mean(0)
    cos, sin = math.cos(turned), math.sin(turned)
    return (corners - center) @ np.array([[cos, sin], [-sin, cos]]) + center


def _mask(shape: Attributes, size: Size) -> np.ndarray | None:
    """(H, W) bool of run lengths within a rectangle; None when they do not fill it, or it leaves the image."""
    values = [number(shape.get(name)) for name in ("left", "top", "width", "height")]
    runs = [number(run) for run in shape.get("rle", "").split(",")]
    if None in values or None in runs or not all(size):
        return None
    left, top, wide, high = (int(value) for value in values if value is not None)
    lengths = np.array(runs, np.float64)
    fits = min(left, top) >= 0 and min(wide, high) > 0 and left + wide <= size[1] and top + high <= size[0]
    if not fits or (lengths < 0).any() or lengths.sum() != wide * high:
        return None
    piece = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths.astype(np.int64)).reshape(high, wide)
    whole = np.zeros(size, bool)
    whole[top : top + high, left : left + wide] = piece
    return whole
