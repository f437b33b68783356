"""Overlaps of detections with the truths of the same image and class, for all images at once, in numpy.

Detection metrics compare boxes inside small groups, one a pair of image and class. Instead of a matrix a group, all
pairs that could ever match are listed flat; work and memory are then a matter of pairs, not of groups.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PAIRS_AT_ONCE = 1 << 17
"""Pairs whose overlap is computed in one go: about 10 MB of temporaries, whatever the size of the data set."""


class Pairs(NamedTuple):
    """Overlapping (detection, truth) pairs of one group each, by detection, then by truth.

    Args:
        detections: (P,) int64 row of the detection of each pair.
        truths: (P,) int64 row of the truth of each pair.
        ious: (P,) float64 overlap of the two, 0..1.
    """

    detections: np.ndarray
    truths: np.ndarray
    ious: np.ndarray


def group_ranks(groups: np.ndarray) -> np.ndarray:
    """Position of each element inside its run of equal values; (N,) sorted integers to (N,) int64.

    >>> group_ranks(np.array([4, 4, 7, 9, 9, 9])).tolist()
    [0, 1, 0, 0, 1, 2]
    """
    places = np.arange(len(groups))
    first = np.ones(len(groups), bool)
    first[1:] = groups[1:] != groups[:-1]
    return places - np.maximum.accumulate(np.where(first, places, 0))


def ious_of_pairs(detections: np.ndarray, truths: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Overlap of boxes pair by pair: (P,) float64 in 0..1.

    Same order of operations as pycocotools' C code (`bbIou` in `common/maskApi.c`), so that the results are equal to the
    last bit.

    Args:
        detections: (P, 4) float64 left, top, width and height in pixels.
        truths: (P, 4) boxes of the same form, one for each detection.
        crowd: (P,) bool; there the intersection is divided by the detection's area alone, so a detection inside a crowd
            region overlaps it fully.

    >>> box, region = np.array([[0.0, 0, 10, 10]]), np.array([[5.0, 0, 10, 10]])
    >>> [ious_of_pairs(box, region, np.array([crowd])).round(3).tolist() for crowd in (False, True)]
    [[0.333], [0.5]]
    """
    near = np.maximum(detections[:, :2], truths[:, :2])
    far = np.minimum(detections[:, 2:] + detections[:, :2], truths[:, 2:] + truths[:, :2])
    extent = far - near
    inside = (extent > 0).all(axis=1)
    intersection = extent[:, 0] * extent[:, 1]
    area = detections[:, 2] * detections[:, 3]
    union = np.where(crowd, area, area + truths[:, 2] * truths[:, 3] - intersection)
    return np.divide(intersection, union, out=np.zeros(len(union)), where=inside & (union > 0))


def overlapping_pairs(
    detections: np.ndarray,
    detection_groups: np.ndarray,
    truths: np.ndarray,
    truth_groups: np.ndarray,
    crowd: np.ndarray,
    minimum: float,
) -> Pairs:
    """All pairs of the same group with an overlap of at least `minimum`.

    Args:
        detections: (D, 4) float64 left, top, width and height in pixels.
        detection_groups: (D,) integers in ascending order, the group of each detection.
        truths: (G, 4) float64 boxes of the same form.
        truth_groups: (G,) integers in ascending order, the group of each truth.
        crowd: (G,) bool, truths that a detection overlaps by its own area (`ious_of_pairs`).
        minimum: smallest overlap of a pair that is kept, 0..1.

    >>> boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 5]])
    >>> pairs = overlapping_pairs(boxes, np.array([0, 1]), boxes, np.array([0, 0]), np.array([False, False]), 0.4)
    >>> list(zip(pairs.detections.tolist(), pairs.truths.tolist(), pairs.ious.tolist()))  # none with group 1
    [(0, 0, 1.0), (0, 1, 0.5)]
    """
    start = np.searchsorted(truth_groups, detection_groups, "left")
    counts = np.searchsorted(truth_groups, detection_groups, "right") - start
    ends = np.cumsum(counts)
    found: list[Pairs] = []
    low = 0
    while low < len(detections):
        done = ends[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(ends, done + PAIRS_AT_ONCE, "right")))
        number = counts[low:high]
        left = np.repeat(np.arange(low, high), number)
        within = np.arange(len(left)) - np.repeat(ends[low:high] - number - done, number)
        right = np.repeat(start[low:high], number) + within
        ious = ious_of_pairs(detections[left], truths[right], crowd[right])
        keep = ious >= minimum
        found.append(Pairs(left[keep], right[keep], ious[keep]))
        low = high
    if not found:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return Pairs(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
