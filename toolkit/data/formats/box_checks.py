"""Annotated boxes against their images: what is wrong is refused, or mended and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from toolkit.data.faults.leaving_out import Corners
from toolkit.data.faults.problem_list import ProblemList
from toolkit.errors import Place

FixBoxes = Literal["stop", "clip", "drop"]
"""Boxes that leave their image or have no area: refuse the data set; cut them to the image and drop what has no area;
or drop both."""

ROUNDING = 0.5
"""Pixels a box may leave its image by and is cut back without a word: annotation tools round to whole pixels."""


class RawBoxes(NamedTuple):
    """Boxes as they stand in the files, flat.

    Args:
        owners: (M,) int64 position of the image.
        xyxy: (M, 4) float64, 0-based, x2/y2 exclusive.
        labels: (M,) int64 class of each box, 0..K-1.
        crowd: (M,) bool: whether the box holds many objects.
        difficult: (M,) bool: VOC's flag for objects that count as neither.
        area: (M,) float64, NaN where the file gives none.
    """

    owners: np.ndarray
    xyxy: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    difficult: np.ndarray
    area: np.ndarray

    @staticmethod
    def of(owners: np.ndarray, xyxy: np.ndarray, labels: np.ndarray, difficult: np.ndarray | None = None) -> RawBoxes:
        """Boxes without crowds, whose area is not given.

        Args:
            owners: (M,) position of the image of each box.
            xyxy: (M, 4) pixels, 0-based, x2 and y2 exclusive.
            labels: (M,) class of each box, 0..K-1.
            difficult: (M,) bool flags, or None for none.
        """
        count = len(owners)
        flags = np.zeros(count, bool)
        return RawBoxes(owners, xyxy, labels, flags, flags if difficult is None else difficult, np.full(count, np.nan))


class BoxFixes(NamedTuple):
    """How many boxes were cut back by at most `ROUNDING`, clipped to their image, and dropped.

    Args:
        trimmed: boxes that were cut back by at most `ROUNDING`.
        clipped: boxes that were clipped to their image.
        dropped: boxes that were left out.
    """

    trimmed: int = 0
    clipped: int = 0
    dropped: int = 0


BoxStyle = Literal["xyxy", "xywh", "cxcywh"]
"""How a format writes a box: two corners; a corner, width and height; the center, width and height."""

_SHARE = 0.1
"""Share of a set's boxes that must be impossible as they stand before another convention is looked for."""


class Convention(NamedTuple):
    """A way to write boxes that would make sense of a whole set which makes none as it stands."""

    message: str
    remedy: str


def mistaken_convention(raw: RawBoxes, sizes: np.ndarray, style: BoxStyle, normalised: bool) -> Convention | None:
    """What all boxes of a set seem to be instead of what their format says; None when they are what it says.

    Judged by the whole set, because a single box can be anything: boxes must leave their images, or have no area, and
    all of them must fit when they are read the other way.

    Args:
        raw: the boxes as the format reads them, corners 0-based.
        sizes: (N, 2) height and width of each image, 0 where unknown.
        style: how the format writes a box.
        normalised: whether the format gives fractions of the image instead of pixels.
    """
    owned = sizes[raw.owners][:, ::-1].astype(np.float64)
    known = np.isfinite(raw.xyxy).all(axis=1) & (normalised | (owned > 0).all(axis=1))
    every = raw.xyxy[np.isfinite(raw.xyxy).all(axis=1)]
    if not normalised and len(every) and np.abs(every).max() <= 1 and (every != every.round()).any():
        message = f"every corner of {len(every)} boxes lies within 0..1: are they fractions of the picture?"
        return Convention(message, "multiply x and width by the image's width, y and height by its height")
    low, high = raw.xyxy[known, :2], raw.xyxy[known, 2:]
    edge = np.ones_like(low) if normalised else owned[known]
    slack = ROUNDING / 500 if normalised else ROUNDING
    wrong = (high > edge + slack).any(1) | (low < -slack).any(1) | (high <= low).any(1)
    if wrong.sum() < 2 or wrong.mean() < _SHARE:  # a single wrong box is told by its file and number
        return None
    first, second = {"xyxy": (low, high), "xywh": (low, high - low), "cxcywh": ((low + high) / 2, high - low)}[style]

    def fit(left: np.ndarray, right: np.ndarray) -> bool:
        return bool(((left >= -slack) & (right <= edge + slack) & (right > left)).all())

    outside = f"in {int(wrong.sum())} of {len(low)} boxes"
    if style != "xyxy" and fit(first, second):
        message = f"width > x and height > y in all boxes, and they leave the picture {outside}: are these two corners?"
        return Convention(message, "write width = x2 - x1 and height = y2 - y1")
    if style != "cxcywh" and fit(first - second / 2, first + second / 2):
        return Convention(f"boxes leave the picture or have no area {outside}: are x and y the center of the box?",
                          "subtract half the width from x, half the height from y")  # fmt: skip
    if style != "xywh" and fit(first, first + second):
        message = f"boxes leave the picture or have no area {outside}: are these a corner, width and height?"
        return Convention(message, "write what the format wants, " + _WANTED[style])
    if fit(low[:, ::-1], high[:, ::-1]):
        return Convention(f"boxes leave the picture {outside}: are x and y exchanged?", "write x before y")
    return None


_WANTED = {"xyxy": "the two corners", "xywh": "a corner, width and height", "cxcywh": "center, width and height"}


def checked_boxes(
    raw: RawBoxes,
    sizes: np.ndarray,
    fix: FixBoxes,
    problems: ProblemList,
    where: Callable[[int], Place],
    rounding: float = ROUNDING,
) -> tuple[RawBoxes, BoxFixes]:
    """The boxes that remain, inside their images, and what was done to the others; problems are added, not raised.

    Args:
        raw: boxes as they stand in the files.
        sizes: (N, 2) height and width of each image, 0 where unknown.
        fix: what is done to wrong boxes: "stop" tells of them, "clip" cuts them to their image and drops what has no
            area, "drop" leaves them out.
        problems: takes what is wrong and stays so.
        where: file and object of box i, for messages.
        rounding: pixels by which a box may reach outside without being wrong.
    """
    finite = np.isfinite(raw.xyxy).all(axis=1)
    _refuse(raw, ~finite, "boxes with numbers that are not finite", where, problems, lambda _: "is not finite")

    size = sizes[raw.owners][:, ::-1].astype(np.float64)  # width, height
    edge = np.where(size > 0, size, np.inf)
    limits = np.concatenate([edge, edge], axis=1)
    clipped = np.clip(raw.xyxy, 0, limits)
    beyond = np.abs(raw.xyxy - clipped).max(axis=1, initial=0)
    outside = finite & (beyond > rounding)
    with np.errstate(invalid="ignore"):
        extent = raw.xyxy[:, 2:] - raw.xyxy[:, :2]
    inside = clipped[:, 2:] - clipped[:, :2]
    flat = finite & ((extent <= 0).any(axis=1) | ((inside <= 0).any(axis=1) & ((fix == "clip") | ~outside)))

    if fix == "stop":

        def is_flat(index: int) -> str:
            return f"is {extent[index, 0]:g} wide and {extent[index, 1]:g} high; both must be positive"

        def leaves(index: int) -> str:
            return f"leaves its image of {size[index, 0]:g}x{size[index, 1]:g} by {beyond[index]:g}"

        outer = outside & ~flat
        shown = rounding == ROUNDING  # corners in pixels can be drawn
        drop, clip = "correct it, or set fix_boxes: drop", "correct it, or set fix_boxes: clip"
        _refuse(raw, flat, "boxes without area", where, problems, is_flat, drop, shown=shown)
        _refuse(raw, outer, "boxes outside their image", where, problems, leaves, clip, shown=shown)
    lost = flat | (outside if fix == "drop" else False)
    trimmed = int((finite & (beyond > 0) & ~outside & ~lost).sum())
    mended = fix != "stop"  # a fault that stops is told, not mended
    fixes = BoxFixes(trimmed, int((outside & ~lost).sum()) if mended else 0, int(lost.sum()) if mended else 0)
    keep = finite & ~lost
    kept = RawBoxes(*(field[keep] for field in raw._replace(xyxy=clipped)))
    return kept, fixes


_TOLD = 20
"""Boxes of one kind of problem that get words; the others are only counted."""


def _refuse(
    raw: RawBoxes,
    which: np.ndarray,
    kind: str,
    where: Callable[[int], Place],
    problems: ProblemList,
    message: Callable[[int], str],
    suggestion: str = "",
    *,
    shown: bool = False,
) -> None:
    """Adds a problem for each box that `which` marks, to the image it belongs to."""
    cases = np.flatnonzero(which).tolist()
    for index in cases[:_TOLD]:
        text = f"box {_text(raw, index)} {message(index)}"
        corners = _corners(raw, index) if shown else None
        problems.add(kind, where(index), text, suggestion, int(raw.owners[index]), corners)
    if cases[_TOLD:]:
        problems.count(kind, raw.owners[cases[_TOLD:]].tolist())


def _corners(raw: RawBoxes, index: int) -> Corners:
    """The corners in order, whatever order they were given in."""
    x1, y1, x2, y2 = raw.xyxy[index].tolist()
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _text(raw: RawBoxes, index: int) -> str:
    return "[" + ", ".join(f"{value:g}" for value in raw.xyxy[index]) + "]"
