"""COCO's matching of detections to truths, for all images and classes of a chunk in step.

The rule is sequential inside one image and class: detections choose by falling score, and a truth can be chosen
once. Nothing ties different images or classes, so round r decides the r-th detection of every group together, for
all area ranges and overlap thresholds.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from toolkit.ops.box_pairs import Pairs, group_ranks

_REAL = np.int32(1 << 30)
"""Added to the key of a truth that counts, so that it beats every ignored one."""


class Matches(NamedTuple):
    """What happened to the detections that overlap some truth; all others are unmatched.

    Args:
        detections: (C,) int64 rows of these detections, ascending.
        matched: (C, A, T) bool for A area ranges and T thresholds: whether a truth was taken.
        ignored: (C, A, T) bool: the truth that was taken does not count, hence neither does the detection.
    """

    detections: np.ndarray
    matched: np.ndarray
    ignored: np.ndarray


def match(
    pairs: Pairs, groups: np.ndarray, truth_ignored: np.ndarray, reusable: np.ndarray, ious: np.ndarray
) -> Matches:
    """Matches detections to truths by COCO's rule.

    A detection takes the free truth it overlaps most, among those that count; only when there is none, the ignored
    one it overlaps most. Of equal overlaps the later truth wins. Source: `evaluateImg` in pycocotools' `cocoeval.py`.

    Args:
        pairs: overlapping pairs (`overlapping_pairs`), detections sorted by (group, falling score).
        groups: (D,) integers, the group (class and image) of each detection.
        truth_ignored: (G, A) bool: truths that do not count in each of A area ranges.
        reusable: (G,) bool: may be matched by any number of detections (crowd regions).
        ious: (T,) overlaps, 0..1, from which a detection may take a truth.

    >>> pairs = Pairs(np.array([0, 1]), np.array([0, 0]), np.array([0.6, 0.9]))  # two detections of one object
    >>> match(pairs, np.array([5, 5]), np.zeros((1, 1), bool), np.zeros(1, bool), np.array([0.5])).matched[:, 0, 0]
    array([ True, False])
    """
    candidates, inverse = np.unique(pairs.detections, return_inverse=True)
    rounds = group_ranks(groups[candidates])
    # Inside a detection from the worst choice to the best, so that the best key is the largest.
    order = np.lexsort((pairs.truths, pairs.ious, inverse, rounds[inverse]))
    owners, truths, overlaps = inverse[order], pairs.truths[order], pairs.ious[order]
    bounds = np.searchsorted(rounds[owners], np.arange(int(rounds.max(initial=-1)) + 2))

    cells = (truth_ignored.shape[1], len(ious))
    matched = np.zeros((len(candidates), *cells), bool)
    ignored = np.zeros((len(candidates), *cells), bool)
    taken = np.zeros((len(truth_ignored), *cells), bool)
    thresholds = np.minimum(ious, 1 - 1e-10)
    for low, high in pairwise(bounds):
        owner, truth = owners[low:high], truths[low:high]
        keys = np.arange(high - low, dtype=np.int32)[:, None] + np.where(truth_ignored[truth], np.int32(0), _REAL)
        free = (overlaps[low:high, None] >= thresholds)[:, None, :] & ~taken[truth]
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        best = np.maximum.reduceat(np.where(free, keys[:, :, None], np.int32(-1)), starts, axis=0)
        hit = best >= 0
        matched[owner[starts]] = hit
        ignored[owner[starts]] = hit & (best < _REAL)
        _, area, threshold = np.nonzero(hit)
        chosen = truth[best[hit] & (_REAL - 1)]
        once = ~reusable[chosen]
        taken[chosen[once], area[once], threshold[once]] = True
    return Matches(candidates, matched, ignored)
