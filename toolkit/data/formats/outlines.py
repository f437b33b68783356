"""Annotated objects in one form for every labelling tool, and what is made of them: masks, label maps and boxes.

Coordinates are pixels with x to the right and y down; the pixel in column c and row r covers c..c+1 and r..r+1.
Polygons are filled by pycocotools, the reference of COCO's masks: a pixel belongs to a polygon by its center, so that
areas are right on average (the triangle 20 20 60 20 40 50 has 600 pixels).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from toolkit.data.faults.problem_list import ProblemList
from toolkit.errors import Place, Where
from toolkit.labels import IGNORE_INDEX

Size = tuple[int, int]
"""(height, width) in pixels."""

Overlaps = Literal["file_order", "larger_first"]
"""Which of two objects a pixel belongs to: the one that stands later in the file, or the one that is smaller."""


def _codec() -> Any:
    """pycocotools, imported when the first outline is drawn."""
    return importlib.import_module("pycocotools.mask")


_ARC_POINTS = 128
"""Corners of the polygon that stands for an ellipse: its area is 0.04 % too small."""


SHAPELESS = "shapes without area"
"""Counted in `ProblemList.tally` by readers of outlines: lines, points and what else fills no pixel."""


def note_shapeless(source: Where, problems: ProblemList, kinds: str) -> None:
    """Notes how many shapes are left out because they have no area.

    Args:
        source: the file or folder they stand in.
        problems: has counted them, and takes the note.
        kinds: what such shapes are in this format, in words.
    """
    count = problems.tally[SHAPELESS]
    if count:
        problems.notes.append(f"{source}: {count} shapes have no area ({kinds}); they are left out")


class RunLengths(NamedTuple):
    """A mask as COCO's run lengths, column by column.

    Args:
        size: (height, width) of the whole image.
        counts: the compressed run lengths, as pycocotools writes them.
    """

    size: Size
    counts: bytes


class Outline(NamedTuple):
    """One annotated object of an image, by polygons, a mask, a box, or several of them.

    Args:
        label: name of its class, as the file says it.
        rings: (P, 2) float64 polygons x, y in pixels, at least three corners each; the object is all of them together.
        holes: (P, 2) float64 polygons that are cut out of the rings.
        mask: run lengths, where the file has them in place of polygons.
        box: x1, y1, x2, y2 in pixels, where the file gives a box; None takes the smallest around the rest.
        crowd: whether this is a region of many objects (COCO's iscrowd).
        group: what several entries of one object have in common (LabelMe's group_id); "" for an object of its own.
        where: file and entry, for messages.
    """

    label: str
    rings: tuple[np.ndarray, ...] = ()
    holes: tuple[np.ndarray, ...] = ()
    mask: RunLengths | None = None
    box: tuple[float, float, float, float] | None = None
    crowd: bool = False
    group: str = ""
    where: Place = Place("")

    @property
    def is_box(self) -> bool:
        """Whether nothing but a box is known of it."""
        return not self.rings and self.mask is None


class ImageOutlines(NamedTuple):
    """One image and its annotated objects, as a format's files give them.

    Args:
        name: path relative to the data set's root, with `/`.
        outlines: the objects in the order of the file.
        size: (height, width) in pixels, (0, 0) when the files do not say.
        annotation: path of the file the objects stand in, "" for none.
        image_id: number by which the files call the image, -1 when they have none.
    """

    name: str
    outlines: tuple[Outline, ...] = ()
    size: Size = (0, 0)
    annotation: str = ""
    image_id: int = -1


def ring(points: Any) -> np.ndarray | None:
    """(P, 2) float64 of a polygon as a list of pairs or of numbers in turn; None for what is no polygon.

    >>> ring([0, 0, 4, 0, 4, 2]).tolist(), ring([[0, 0], [4, 2]]), ring("a")
    ([[0.0, 0.0], [4.0, 0.0], [4.0, 2.0]], None, None)
    """
    try:
        corners = np.asarray(points, np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError):
        return None
    return corners if len(corners) >= 3 and np.isfinite(corners).all() and np.abs(corners).max() < 2**30 else None


def rectangle(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
    """The (4, 2) ring of a box, whichever two of its opposite corners are given.

    Args:
        x1: left or right edge in pixels.
        y1: upper or lower edge in pixels.
        x2: the other vertical edge in pixels.
        y2: the other horizontal edge in pixels.
    """
    return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float64)


def ellipse(x: float, y: float, across: float, down: float, turned: float = 0.0) -> np.ndarray:
    """The (128, 2) ring of an ellipse.

    Args:
        x: center, in pixels from the left.
        y: center, in pixels from the top.
        across: half of its width in pixels, before it is turned.
        down: half of its height in pixels, before it is turned.
        turned: radians by which it is turned from x to y.

    >>> corners = ellipse(10, 10, 4, 2)
    >>> corners.min(0).tolist(), corners.max(0).tolist()
    ([6.0, 8.0], [14.0, 12.0])
    """
    angles = np.arange(_ARC_POINTS) * (2 * math.pi / _ARC_POINTS)
    right, below = across * np.cos(angles), down * np.sin(angles)
    cos, sin = math.cos(turned), math.sin(turned)
    return np.stack([x + right * cos - below * sin, y + right * sin + below * cos], axis=1)


def scaled(outline: Outline, size: Size) -> Outline:
    """An outline in fractions of its image, in pixels. size: (height, width) of the image.

    >>> scaled(Outline("a", box=(0, 0, 0.5, 1)), (10, 20)).box
    (0.0, 0.0, 10.0, 10.0)
    """
    sides = np.array([size[1], size[0]], np.float64)
    rings, holes = (tuple(points * sides for points in parts) for parts in (outline.rings, outline.holes))
    box = None if outline.box is None else tuple((np.array(outline.box) * np.tile(sides, 2)).tolist())
    return outline._replace(rings=rings, holes=holes, box=box)


# --------------------------------------------------------------------------- run lengths


def run_lengths(encoded: Any) -> RunLengths | None:
    """COCO's {"size": [h, w], "counts": text or list of numbers}, checked: the runs must fill the size. None otherwise.

    >>> run_lengths({"size": [2, 3], "counts": [1, 2, 3]}).size, run_lengths({"size": [2, 3], "counts": [1, 2]})
    ((2, 3), None)
    """
    try:
        height, width = (int(side) for side in encoded["size"])
        counts = encoded["counts"]
        if isinstance(counts, list):
            runs = np.asarray(counts, np.int64)
            if (runs < 0).any() or runs.sum() != height * width:
                return None
            counts = _codec().frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"]
        packed = counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
    return RunLengths((height, width), packed) if height * width == _length(packed) else None


def _length(packed: bytes) -> int:
    """Pixels that compressed run lengths fill (rleFrString of COCO's maskApi.c); -1 for broken ones.

    pycocotools writes beyond its memory for run lengths that are longer than their size.
    """
    runs: list[int] = []
    value = shift = 0
    for letter in packed:
        code = letter - 48
        if not 0 <= code < 64 or shift > 60:
            return -1
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return sum(runs) if shift == 0 and all(run >= 0 for run in runs) else -1


def mask_to_runs(mask: np.ndarray) -> RunLengths:
    """The run lengths of an (H, W) boolean mask.

    >>> bool((object_mask(Outline("a", mask=mask_to_runs(np.eye(3) > 0)), (3, 3)) == np.eye(3)).all())
    True
    """
    encoded = _codec().encode(np.asfortranarray(mask, np.uint8))
    return RunLengths((mask.shape[0], mask.shape[1]), encoded["counts"])


# --------------------------------------------------------------------------- masks


def object_mask(outline: Outline, size: Size) -> np.ndarray:
    """(H, W) bool: the pixels of an object. What lies outside the image is cut off; a box is filled.

    Raises ValueError when the object's mask is of another size than the image.
    """
    mask = np.zeros(size, bool)
    rows, columns, window = _window_mask(outline, size)
    mask[rows, columns] = window
    return mask


def label_map(
    outlines: Iterable[Outline],
    labels: Sequence[int],
    size: Size,
    background: int = 0,
    overlaps: Overlaps = "file_order",
) -> np.ndarray:
    """(H, W) uint8: the objects drawn one over the other, each with its label, on the background.

    Args:
        outlines: the objects of an image in the order of their file.
        labels: label of each, 0..254, or 255 for pixels that do not count.
        size: (height, width) of the image in pixels.
        background: label of the pixels of no object, 0..255.
        overlaps: which object a pixel of several gets: that of the later one in the file, or of the smaller one.

    >>> small, large = (Outline("a", (rectangle(1, 0, 2, 1),)), Outline("b", (rectangle(0, 0, 4, 1),)))
    >>> label_map([small, large], [1, 2], (1, 4)).tolist(), label_map([small, large], [1, 2], (1, 4), 0, "larger_first").tolist()
    ([[2, 2, 2, 2]], [[2, 1, 2, 2]])
    """
    drawn = np.full(size, background, np.uint8)
    pieces = [_window_mask(outline, size) for outline in outlines]
    order = list(range(len(pieces)))
    if overlaps == "larger_first":
        order.sort(key=lambda number: -int(pieces[number][2].sum()))
    for number in order:
        rows, columns, window = pieces[number]
        drawn[rows, columns][window] = labels[number]
    return drawn


def _window_mask(outline: Outline, size: Size) -> tuple[slice, slice, np.ndarray]:
    """Where in the image an object lies, and its pixels there: large images with many objects are not filled anew."""
    if outline.mask is not None:
        if outline.mask.size != tuple(size):
            raise ValueError(f"a mask of {outline.mask.size} on an image of {tuple(size)} (height, width)")
        height, width = size
        decoded = _codec().decode({"size": [height, width], "counts": outline.mask.counts})
        return slice(0, height), slice(0, width), decoded.astype(bool)
    rings = outline.rings or ((rectangle(*outline.box),) if outline.box else ())
    if not rings:
        return slice(0, 0), slice(0, 0), np.zeros((0, 0), bool)
    corners = np.concatenate(rings)
    left, top = np.maximum(np.floor(corners.min(0)).astype(int) - 1, 0).tolist()
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + 2, [size[1], size[0]]).tolist()
    if right <= left or bottom <= top:
        return slice(0, 0), slice(0, 0), np.zeros((0, 0), bool)
    inside = (bottom - top, right - left)
    filled = _filled(rings, (left, top), inside)
    if outline.holes:
        filled &= ~_filled(outline.holes, (left, top), inside)
    return slice(top, bottom), slice(left, right), filled


def _filled(rings: Sequence[np.ndarray], corner: tuple[int, int], size: Size) -> np.ndarray:
    polygons = [_moved(points, corner).ravel().tolist() for points in rings]
    runs = _codec().frPyObjects(polygons, *size)
    return _codec().decode(_codec().merge(runs)).astype(bool)


def _moved(points: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    """Points from another corner, rounded to fifths of a pixel as pycocotools does (rleFrPoly: (int)(5 x + .5)).

    Rounded after they are moved, some would fall on the other side of a half. Negative ones are put where the rounding
    towards zero leaves them.
    """
    fifths = np.trunc(points * 5 + 0.5) - 5 * np.array(corner)
    return np.where(fifths < 0, fifths - 0.75, fifths) / 5


# --------------------------------------------------------------------------- boxes


def outline_box(outline: Outline) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 in pixels: the object's own box, or the smallest around all its parts; NaN, four times, for nothing.

    >>> outline_box(Outline("a", (ring([2, 1, 5, 1, 5, 9]), ring([0, 3, 1, 3, 1, 4]))))
    (0.0, 1.0, 5.0, 9.0)
    """
    if outline.box is not None:
        return outline.box
    if outline.rings:
        corners = np.concatenate(outline.rings)
        return tuple(corners.min(0).tolist() + corners.max(0).tolist())  # type: ignore[return-value]
    if outline.mask is None:
        return (math.nan,) * 4  # type: ignore[return-value]
    height, width = outline.mask.size
    left, top, wide, high = _codec().toBbox({"size": [height, width], "counts": outline.mask.counts}).tolist()
    return left, top, left + wide, top + high


def drawn_labels(outlines: Sequence[Outline], labels: Sequence[int], crowd: Literal["draw", "ignore"]) -> list[int]:
    """The labels that objects are drawn with: crowd regions as what they are, or as pixels that do not count.

    Args:
        outlines: the objects of an image.
        labels: label of each object, 0..254.
        crowd: what becomes of regions that hold many objects.
    """
    is_left = crowd == "ignore"
    return [IGNORE_INDEX if one.crowd and is_left else label for one, label in zip(outlines, labels, strict=True)]
