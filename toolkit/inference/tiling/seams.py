"""Where tiles meet: how they overlap, which of their boxes a seam has cut, and one answer made of all. Numbers only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from toolkit.ops.suppression import Touching

_SURE = 0.5
"""Overlap from which on a box of the reduced picture and one of a tile are of the same object."""
_COVERED = 0.7
"""Share of a piece's area that a larger box must hold to be of the same object."""


class Span(NamedTuple):
    """One tile along one axis, in pixels.

    Args:
        start: first pixel that it shows.
        stop: pixel behind the last that it shows.
        before: pixel behind the last that the tile before it shows; None at the picture's edge.
        after: first pixel that the tile after it shows; None at the picture's edge.
    """

    start: int
    stop: int
    before: int | None
    after: int | None


def spans(length: int, side: int, overlap: int, align: int) -> list[Span]:
    """Tiles of `side` pixels over a line of `length`, evenly spread; neighbours share `overlap` pixels or more.

    Args:
        length: pixels of the line that is cut into tiles.
        side: pixels of a tile; the last may be shorter by less than `align`.
        overlap: pixels that neighbours share at least, less than `side`.
        align: tiles start at multiples of it.

    >>> [(one.start, one.stop) for one in spans(1000, 512, 100, 32)]
    [(0, 512), (256, 768), (512, 1000)]
    """
    if length <= side:
        return [Span(0, length, None, None)]
    step = max((side - overlap) // align, 1) * align
    last = -(-(length - side) // align) * align
    gaps = -(-last // step)
    starts = [round(place * last / gaps / align) * align for place in range(gaps + 1)]
    stops = [min(start + side, length) for start in starts]
    return [
        Span(start, stop, before, after)
        for start, stop, before, after in zip(starts, stops, [None, *stops], [*starts[1:], None], strict=False)
    ]


class Overlap(NamedTuple):
    """What tiles share with their neighbours along one axis, in pixels.

    A box that comes nearer to a tile's inner edge than `margin` counts as cut. It is left to the neighbour where its
    other end lies twice as far inside the neighbour, so that a box which two tiles place a little differently is not
    left out by both.

    Args:
        pixels: shared by neighbours, at least.
    """

    pixels: int

    @property
    def margin(self) -> float:
        """How near to an edge a box is one that the edge cuts."""
        return self.pixels / 16

    @property
    def holds(self) -> float:
        """The longest object that lies whole in one of the tiles, wherever it is."""
        return self.pixels - 3 * self.margin

    @staticmethod
    def for_objects(longest: float) -> Overlap:
        """The overlap that holds objects of that length.

        >>> Overlap.for_objects(104).pixels
        128
        """
        return Overlap(math.ceil(longest * 16 / 13))


def seen_by_neighbours(boxes: np.ndarray, tile: Sequence[Span], overlaps: Sequence[Overlap]) -> np.ndarray:
    """(N,) what to do with a tile's boxes: 0 whole, 1 a piece of an object that no tile holds, 2 left to a neighbour.

    Args:
        boxes: (N, 4) xyxy in pixels of the whole picture.
        tile: what it shows of rows and of columns.
        overlaps: of rows and of columns.
    """
    cut, left = np.zeros(len(boxes), bool), np.zeros(len(boxes), bool)
    for axis, (span, overlap) in enumerate(zip(tile, overlaps, strict=True)):
        low, high = boxes[:, 1 - axis], boxes[:, 3 - axis]
        if span.before is not None:
            touches = low < span.start + overlap.margin
            cut |= touches
            left |= touches & (high < span.before - 2 * overlap.margin)
        if span.after is not None:
            touches = high > span.stop - overlap.margin
            cut |= touches
            left |= touches & (low > span.after + 2 * overlap.margin)
    return np.where(left, 2, cut.astype(int))


class Found(NamedTuple):
    """Boxes of one picture.

    Args:
        boxes: (N, 4) float32 xyxy in its pixels.
        scores: (N,) float32 probability of each box's class, 0..1.
        labels: (N,) int64 class of each box, 0..K-1.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def take(self, rows: np.ndarray) -> Found:
        """Some of them, by a mask or their places."""
        return Found(self.boxes[rows], self.scores[rows], self.labels[rows])

    def ordered(self) -> Found:
        """All of them, best first, equals by place: in whatever order they were found."""
        return self.take(np.lexsort((*self.boxes.T[::-1], self.labels, -self.scores)))

    @staticmethod
    def of(parts: Sequence[Found]) -> Found:
        """Boxes of several looks, one look after the other."""
        nothing = Found(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
        return Found(*(np.concatenate(fields) for fields in zip(nothing, *parts, strict=True)))


def without_doubles(whole: Found, pieces: Found, large: Found) -> Found:
    """All boxes but those of which a better one is known; overlaps among the rest are left to the head's suppression.

    A piece goes where a box of its class that holds it has at least half its score. A box of the reduced picture goes
    where a tile has the same object: a tile knows it in more pixels.

    Args:
        whole: boxes that tiles see from end to end.
        pieces: boxes that a seam cuts and no neighbour sees whole.
        large: boxes of the whole picture at reduced size.
    """
    every = Found.of([whole, large, pieces])
    if not len(pieces.boxes) and not len(large.boxes):
        return every.ordered()
    kind = np.repeat([0, 1, 2], [len(whole.boxes), len(large.boxes), len(pieces.boxes)])
    areas = (every.boxes[:, 2] - every.boxes[:, 0]) * (every.boxes[:, 3] - every.boxes[:, 1])
    goes = np.zeros(len(kind), bool)
    for one, other in Touching(every.boxes, every.labels).pairs():
        low, high = np.minimum(one, other), np.maximum(one, other)  # the later kind is the one that may go
        low, high = low[kind[low] < kind[high]], high[kind[low] < kind[high]]
        near = np.maximum(every.boxes[low, :2], every.boxes[high, :2])
        far = np.minimum(every.boxes[low, 2:], every.boxes[high, 2:])
        common = np.clip(far - near, 0, None).prod(1)
        same = common > _SURE * (areas[low] + areas[high] - common)
        held = (common > _COVERED * areas[high]) & (2 * every.scores[low] >= every.scores[high])
        goes[high[np.where(kind[high] == 2, held, same)]] = True
    return every.take(~goes).ordered()
