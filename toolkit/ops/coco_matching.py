"""COCO's matching of detections to truths, for all images and classes of a chunk.

The rule is sequential inside one image and class: detections choose by falling score, and a truth can be chosen
once. A C kernel (`ops/native.py`) does just that. Without a compiler numpy does it, with the same result to the bit:
nothing ties different images or classes, so round r decides the r-th detection of every group together, for all area
ranges and overlap thresholds.
"""

from __future__ import annotations

import ctypes
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from toolkit.ops.box_pairs import Pairs, group_ranks, overlapping_pairs
from toolkit.ops.native import compile_c

_SMALLEST = 1 << 13
"""Detections below which the kernel is not worth its compilation."""
_SURELY = 1 - 1e-10
"""The largest threshold: an overlap of 1 must reach it whatever rounding does. Source: `evaluateImg` in `cocoeval.py`."""
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


# Boxes are left, top, width, height; the overlap is that of `ious_of_pairs`, operation for operation.
_SOURCE = r"""
#include <stdint.h>
typedef int64_t i64; typedef uint8_t u8;
static double overlap(const double *d, const double *t, int crowd) {
  double left = d[0] > t[0] ? d[0] : t[0], top = d[1] > t[1] ? d[1] : t[1];
  double dr = d[2] + d[0], tr = t[2] + t[0], db = d[3] + d[1], tb = t[3] + t[1];
  double w = (dr < tr ? dr : tr) - left, h = (db < tb ? db : tb) - top;
  double area = d[2] * d[3], both = w * h, all = crowd ? area : area + t[2] * t[3] - both;
  return w > 0 && h > 0 && all > 0 ? both / all : 0; }

/* For each detection that overlaps a truth enough: its row, and by area range and threshold 1 for a truth it takes,
   3 for one that does not count. Groups ascend in both; `taken` starts as 0. Answers how many rows there are. */
i64 match_boxes(const double *boxes, const i64 *groups, i64 count, const double *truths, const i64 *truth_groups,
    i64 truth_count, const u8 *crowd, const u8 *ignored, const u8 *reusable, i64 areas, const double *least, i64 levels,
    double minimum, u8 *taken, double *ious, i64 *rows, u8 *codes) {
  i64 found = 0, low = 0, high = 0, cells = areas * levels;
  for (i64 d = 0; d < count; d++) {
    if (!d || groups[d] != groups[d - 1]) {
      for (low = high; low < truth_count && truth_groups[low] < groups[d];) low++;
      for (high = low; high < truth_count && truth_groups[high] == groups[d];) high++; }
    int any = 0;
    for (i64 t = low; t < high; t++) any |= (ious[t - low] = overlap(boxes + 4 * d, truths + 4 * t, crowd[t])) >= minimum;
    if (!any) continue;
    u8 *code = codes + found * cells;
    rows[found++] = d;
    for (i64 a = 0; a < areas; a++) for (i64 l = 0; l < levels; l++) {
      i64 best = -1, spare = -1, cell = a * levels + l;  /* of equal overlaps the later truth wins */
      for (i64 t = low; t < high; t++) {
        double iou = ious[t - low];
        if (iou < least[l] || taken[t * cells + cell]) continue;
        if (ignored[t * areas + a]) { if (spare < 0 || iou >= ious[spare - low]) spare = t; }
        else if (best < 0 || iou >= ious[best - low]) best = t; }
      i64 chosen = best < 0 ? spare : best;
      code[cell] = chosen < 0 ? 0 : best < 0 ? 3 : 1;
      if (chosen >= 0 && !reusable[chosen]) taken[chosen * cells + cell] = 1; } }
  return found; }
"""


class Boxes(NamedTuple):
    """Boxes of one chunk, in ascending groups.

    Args:
        xywh: (N, 4) float64 left, top, width and height in pixels; detections of a group by falling score.
        groups: (N,) int64, one number a pair of class and image.
    """

    xywh: np.ndarray
    groups: np.ndarray


def match_boxes(
    detections: Boxes,
    truths: Boxes,
    crowd: np.ndarray,
    truth_ignored: np.ndarray,
    reusable: np.ndarray,
    ious: np.ndarray,
) -> Matches:
    """Matches detections to truths by COCO's rule, see `match`.

    Args:
        detections: the boxes that choose, best score first.
        truths: the boxes that are chosen.
        crowd: (G,) bool, truths that a detection overlaps by its own area.
        truth_ignored: (G, A) bool: truths that do not count in each of A area ranges.
        reusable: (G,) bool: may be matched by any number of detections (crowd regions).
        ious: (T,) overlaps, 0..1, from which a detection may take a truth.

    >>> one = Boxes(np.array([[0.0, 0, 10, 10]]), np.array([5]))
    >>> two = Boxes(np.array([[0.0, 0, 10, 9], [0.0, 0, 10, 10]]), np.array([5, 5]))  # the first has the higher score
    >>> no = np.zeros(1, bool)
    >>> match_boxes(two, one, no, no[:, None], no, np.array([0.5])).matched[:, 0, 0]
    array([ True, False])
    """
    minimum = float(np.minimum(ious, _SURELY).min())
    library = compile_c(_SOURCE) if len(detections.groups) >= _SMALLEST else None
    if library is None:
        pairs = overlapping_pairs(*detections, *truths, crowd, minimum)
        return match(pairs, detections.groups, truth_ignored, reusable, ious)
    cells = (truth_ignored.shape[1], len(ious))
    rows = np.empty(len(detections.groups), np.int64)
    codes = np.empty((len(rows), *cells), np.uint8)
    most = int(np.diff(np.flatnonzero(np.diff(truths.groups, prepend=-1, append=-1))).max(initial=1))
    inputs: list[Any] = [*detections, len(rows), *truths, len(truths.groups), crowd, truth_ignored, reusable]
    inputs += [cells[0], np.minimum(ious, _SURELY), cells[1], minimum]
    work = [np.zeros((len(truths.groups), *cells), np.uint8), np.empty(most), rows, codes]
    # Kept until the kernel has read them: they may be copies.
    kept = [np.ascontiguousarray(value, _LAYOUT.get(value.dtype.kind)) if isinstance(value, np.ndarray) else value
            for value in inputs] + work  # fmt: skip
    library.match_boxes.restype = ctypes.c_int64
    found = library.match_boxes(*(_argument(value) for value in kept))
    codes = codes[:found]
    return Matches(rows[:found], codes > 0, codes > 1)


_LAYOUT = {"f": np.float64, "i": np.int64}
"""What the kernel reads, by kind of number."""


def _argument(value: np.ndarray | int | float) -> ctypes.c_void_p | ctypes.c_int64 | ctypes.c_double:
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_int64(value)


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
    thresholds = np.minimum(ious, _SURELY)
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
