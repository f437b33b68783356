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
    for index in _told(~finite, raw.owners, "boxes with numbers that are not finite", problems):
        problems.add("boxes with numbers that are not finite", where(index), f"box {_text(raw, index)} is not finite")

    size = sizes[raw.owners][:, ::-1].astype(np.float64)  # width, height
    edge = np.where(size > 0, size, np.inf)
    limits = np.concatenate([edge, edge], axis=1)
    clipped = np.clip(raw.xyxy, 0, limits)
    beyond = np.abs(raw.xyxy - clipped).max(axis=1, initial=0)
    outside = finite & (beyond > rounding)
    extent = raw.xyxy[:, 2:] - raw.xyxy[:, :2]
    inside = clipped[:, 2:] - clipped[:, :2]
    flat = finite & ((extent <= 0).any(axis=1) | ((inside <= 0).any(axis=1) & ((fix == "clip") | ~outside)))

    if fix == "stop":
        for index in _told(flat, raw.owners, "boxes without area", problems):
            width, height = extent[index]
            problems.add(
                "boxes without area",
                where(index),
                f"box {_text(raw, index)} is {width:g} wide and {height:g} high; both must be positive",
                "correct it, or set fix_boxes: drop",
                box=_shown(raw, index) if rounding == ROUNDING else None,
            )
        for index in _told(outside & ~flat, raw.owners, "boxes outside their image", problems):
            width, height = size[index]
            problems.add(
                "boxes outside their image",
                where(index),
                f"box {_text(raw, index)} leaves its image of {width:g}x{height:g} by {beyond[index]:g}",
                "correct it, or set fix_boxes: clip",
                box=_shown(raw, index) if rounding == ROUNDING else None,
            )
    lost = flat | (outside if fix == "drop" else False)
    trimmed = int((finite & (beyond > 0) & ~outside & ~lost).sum())
    mended = fix != "stop"  # a fault that stops is told, not mended
    fixes = BoxFixes(trimmed, int((outside & ~lost).sum()) if mended else 0, int(lost.sum()) if mended else 0)
    keep = finite & ~lost
    kept = RawBoxes(*(field[keep] for field in raw._replace(xyxy=clipped)))
    return kept, fixes


def _told(mask: np.ndarray, owners: np.ndarray, kind: str, problems: ProblemList) -> list[int]:
    """The first cases of a problem; the others are only counted."""
    problems.blame(kind, np.unique(owners[mask]).tolist())
    cases = np.flatnonzero(mask).tolist()
    told = cases[:20]
    problems.count(kind, len(cases) - len(told))
    return told


def _shown(raw: RawBoxes, index: int) -> tuple[int, Corners]:
    """Its image and its corners in order, whatever order they were given in."""
    x1, y1, x2, y2 = raw.xyxy[index].tolist()
    return int(raw.owners[index]), (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


def _text(raw: RawBoxes, index: int) -> str:
    return "[" + ", ".join(f"{value:g}" for value in raw.xyxy[index]) + "]"
