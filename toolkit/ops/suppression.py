"""Greedy non-maximum suppression of many boxes on a CPU, exactly torchvision's, by looking at neighbours only.

torchvision compares every box that stays with every later one: ten seconds for 33,000 boxes of one class. Boxes that do
not touch cannot suppress one another; so pairs that touch are listed, by bands of the picture and a sweep through each.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

MANY = 2048
"""Boxes from which on listing pairs is quicker than comparing all."""
_AT_ONCE = 1 << 16
"""Pairs that are looked at in one go: about 4 MB of temporaries."""
_CROWDED = 128
"""Pairs a box from which on they are too many to list. Most boxes then go, which is quick without a list."""


def suppress_many(boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, iou: float) -> np.ndarray | None:
    """Indices (int64) of the boxes that stay, best score first, earlier ones first among equals.

    None where the boxes lie so densely, or are no numbers, that this is no way for them: compare all then.

    Args:
        boxes: (N, 4) float32 xyxy in pixels, x2 and y2 exclusive.
        scores: (N,) float32, by which boxes are ordered.
        groups: (N,) integers; boxes of different groups never suppress one another.
        iou: largest overlap, 0..1, at which both of two boxes stay.

    >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 9]], np.float32)
    >>> suppress_many(boxes, np.array([0.8, 0.9, 0.7], np.float32), np.zeros(3, np.int64), 0.5).tolist()
    [1, 2]
    """
    if not len(boxes):
        return np.zeros(0, np.int64)
    if not np.isfinite(boxes).all():
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, own = boxes[order], np.unique(groups[order], return_inverse=True)[1]
    areas = (ranked[:, 2] - ranked[:, 0]) * (ranked[:, 3] - ranked[:, 1])
    touching = Touching(ranked, own)
    if touching.count > _CROWDED * len(boxes):
        return None
    better, worse = [], []
    for one, other in touching.pairs():
        near, far = np.maximum(ranked[one, :2], ranked[other, :2]), np.minimum(ranked[one, 2:], ranked[other, 2:])
        sides = far - near
        inside = (sides > 0).all(1)
        one, other = one[inside], other[inside]
        common = sides[inside].prod(1)
        first, second = np.minimum(one, other), np.maximum(one, other)
        # As torchvision computes it, in float32 and in this order: the same boxes go, to the last bit.
        above = common / (areas[first] + areas[second] - common) > iou
        better.append(first[above].astype(np.int32))
        worse.append(second[above].astype(np.int32))
    return order[_staying(len(boxes), np.concatenate(better), np.concatenate(worse))]


def _staying(count: int, better: np.ndarray, worse: np.ndarray) -> np.ndarray:
    """Ranks of boxes that stay, when of each pair the worse goes unless the better has gone before."""
    by_better = np.argsort(better, kind="stable")
    worse = worse[by_better]
    ranks, starts = np.unique(better[by_better], return_index=True)
    stays = np.ones(count, bool)
    ends = np.append(starts, len(worse))[1:]
    for rank, start, end in zip(ranks.tolist(), starts.tolist(), ends.tolist(), strict=True):
        if stays[rank]:
            stays[worse[start:end]] = False
    return np.flatnonzero(stays)


class Touching:
    """Pairs of boxes of one group that touch, each once, and some that only come near.

    `count` says how many they are, before any is made.

    Args:
        boxes: (N, 4) float32 xyxy, finite.
        groups: (N,) integers from 0 on.
    """

    def __init__(self, boxes: np.ndarray, groups: np.ndarray) -> None:
        low = boxes.min(0).astype(np.float64)
        top, bottom = boxes[:, 1] - low[1], np.maximum(boxes[:, 1], boxes[:, 3]) - low[1]
        height = max(2 * float(np.median(bottom - top)), float(bottom.max()) / (1 << 20), 1e-6)
        first, last = (top / height).astype(np.int64), (bottom / height).astype(np.int64)
        while (last - first).sum() > 2 * len(boxes):  # a few high boxes lie in many bands
            first, last = first // 2, last // 2
        spans = last - first + 1
        rows = np.repeat(np.arange(len(boxes)), spans)
        bands = np.arange(len(rows)) - np.repeat(np.cumsum(spans) - spans, spans) + first[rows]
        cells = groups[rows] * (int(last.max()) + 1) + bands
        begin, end = boxes[:, 0] - low[0], boxes[:, 2] - low[0]
        width = float(max(begin.max(), end.max())) + 2  # cells lie one behind the other on one line
        places = cells * width + begin[rows]
        along = np.argsort(places, kind="stable")
        self._rows, self._bands, self._first = rows[along], bands[along], first
        places = places[along]
        reach = cells[along] * width + np.minimum(end[self._rows] * (1 + 1e-6) + 1e-3, width - 1)
        self._counts = np.maximum(np.searchsorted(places, reach) - np.arange(1, len(rows) + 1), 0)
        self.count = int(self._counts.sum())

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of both boxes, some thousand pairs at a time."""
        ends = np.cumsum(self._counts)
        low = 0
        yield np.zeros(0, np.int64), np.zeros(0, np.int64)
        while low < len(ends):
            done = int(ends[low - 1]) if low else 0
            high = max(low + 1, int(np.searchsorted(ends, done + _AT_ONCE, "right")))
            number = self._counts[low:high]
            left = np.repeat(np.arange(low, high), number)
            right = left + 1 + np.arange(len(left)) - np.repeat(ends[low:high] - number - done, number)
            one, other = self._rows[left], self._rows[right]
            here = np.maximum(self._first[one], self._first[other]) == self._bands[left]
            yield one[here], other[here]
            low = high
