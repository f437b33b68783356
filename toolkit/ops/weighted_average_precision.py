"""Average precision and recall of many data sets in which the same images stand several times, COCO's and VOC's.

Matching happens inside an image, so it is done once. What changes with an image's weight is how often its detections
and truths count: running sums over detections, best first, become running sums of weights. The results are those of
evaluating a data set in which image i stands w_i times: copies of a right detection come one after the other, and
precision rises from copy to copy, so that the last one decides. Where detections of one image have equal scores, its
copies come one after the other too, each with all of them, and these stand in the lists as often as an image is ever
drawn. (`test_weighted_average_precision.py` compares with COCO's evaluation of repeated images.)
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from toolkit.ops.average_precision import COCO_RECALLS, ClassMatches
from toolkit.ops.native import compile_c, split
from toolkit.ops.voc_average_precision import VocMatches, VocStyle

_AT_ONCE = 1 << 20
"""Detections times data sets that are summed together: bounds the memory (some 50 bytes each)."""
_SOURCE = r"""
#include <stdint.h>
typedef int64_t i64;
/* Mean precision at the recalls k / (points - 1) of `levels` lists of right detections, at weights (rows, columns). `running`
   has space for all detections, changes of a list and two more; `precision` and `reached` for the longest list. */
void weighted_precision(const int32_t *weights, i64 columns, const i64 *owners, i64 detections, const i64 *ends,
    const i64 *groups, const i64 *seen, const i64 *corrected, const i64 *change_ends, const i64 *changes,
    const int32_t *signs, i64 levels, const double *truths, const double *recalls, i64 points, double tiny,
    int32_t *running, double *precision, i64 *reached, double *out, i64 first, i64 last) {
  int32_t *sums = running + detections + 1;
  for (i64 r = first; r < last; r++) {
    const int32_t *w = weights + r * columns;
    double all = truths[r] > 1 ? truths[r] : 1;
    running[0] = sums[0] = 0;
    for (i64 d = 0; d < detections; d++) running[d + 1] = running[d] + w[owners[d]];
    for (i64 t = 0; t < levels; t++) {
      i64 found = 0, used = 0, start = t ? change_ends[t - 1] : 0;
      for (i64 q = start; q < change_ends[t]; q++) sums[q - start + 1] = sums[q - start] + w[changes[q]] * signs[q];
      for (i64 p = t ? ends[t - 1] : 0; p < ends[t]; p++) {
        if (!w[groups[p]]) continue;
        found += w[groups[p]];
        double recall = (double)found / all;
        i64 near = (i64)(recall * (double)(points - 1) + 0.5);
        precision[used] = (double)found / ((double)(running[seen[p]] + sums[corrected[p]]) + tiny);
        reached[used++] = near + (recalls[near] <= recall); }
      double best = 0, total = 0;
      while (used--) {
        if (precision[used] > best) best = precision[used];
        total += best * (double)(reached[used] - (used ? reached[used - 1] : 0)); }
      out[r * levels + t] = total / (double)points; } } }
"""
_COPIES = 12
"""Copies of an image whose order is kept between equal scores; more are drawn once in 10^10 times, and stand together."""


class _Copies(NamedTuple):
    """The list of a class's detections with those repeated that have equal scores in one image.

    Args:
        rows: (L,) int64 row of the matches that each place of the list is a copy of.
        owners: (L,) int64 column of the extended weights that says how often it counts: a group, or a copy of one.
        groups: (C,) int64 group of each further column, which come after those of the groups.
        copies: (C,) int64 number of the copy that it stands for, 0.._COPIES-1.
    """

    rows: np.ndarray
    owners: np.ndarray
    groups: np.ndarray
    copies: np.ndarray

    def weights(self, weights: np.ndarray) -> np.ndarray:
        """Weights (R, G) int32 with the further columns (R, G + C): 1 where there is such a copy."""
        if not len(self.groups):
            return weights
        left = weights[:, self.groups] - self.copies
        most = np.where(self.copies == _COPIES - 1, np.iinfo(np.int32).max, 1)
        return np.concatenate([weights, np.clip(left, 0, most).astype(np.int32)], axis=1)


def _copies(images: np.ndarray, scores: np.ndarray, right: np.ndarray, groups: np.ndarray, number: int) -> _Copies:
    """The list with copies.

    Args:
        images: (D,) int64 image of each detection, best first, those of one image and score side by side.
        scores: (D,) float64, falling.
        right: (D,) bool: whether it ever is right; where none is, the order does not matter.
        groups: (D,) int64 group of each.
        number: G, how many groups there are.
    """
    begins = np.ones(len(images), bool)
    begins[1:] = (images[1:] != images[:-1]) | (scores[1:] != scores[:-1])
    run = np.cumsum(begins) - 1
    tied = ((np.bincount(run) > 1) & (np.bincount(run, right) > 0))[run] if len(run) else begins
    times = np.where(tied, _COPIES, 1)
    rows = np.repeat(np.arange(len(images)), times)
    copy = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)
    order = np.lexsort((rows, copy, run[rows]))
    rows, copy = rows[order], copy[order]
    owners, again = groups[rows], tied[rows]
    kinds, columns = np.unique(owners[again] * _COPIES + copy[again], return_inverse=True)
    owners[again] = number + columns
    return _Copies(rows, owners, kinds // _COPIES, kinds % _COPIES)


class WeightedVocClass:
    """One class's matches by the rules of Pascal VOC, made ready for weights.

    Args:
        matches: the class's detections and truths (`voc_matches`).
        groups: (N,) int64 number of the group that each image is drawn with, 0..G-1.
        style: "area" under the curve or the mean of "11_points".
        number: G, how many groups there are.
    """

    def __init__(self, matches: VocMatches, groups: np.ndarray, style: VocStyle, number: int) -> None:
        self.counting = np.bincount(groups[matches.truth_images[matches.truth_counts]], minlength=number)
        self._copies = _copies(matches.images, matches.scores, matches.right, groups[matches.images], number)
        counts, right = matches.counts[self._copies.rows], matches.right[self._copies.rows]
        self._counted, self._right = self._copies.owners[counts], self._copies.owners[right]
        self._seen = np.cumsum(counts)[right]
        self._style = style

    def precision(self, weights: np.ndarray) -> np.ndarray:
        """Average precision at weights (R, G) int32: (R,), nan without a counted truth."""
        truths = weights.astype(np.float64) @ self.counting
        result, weights = np.zeros(len(weights)), self._copies.weights(weights)
        for rows in _batches(len(weights), len(self._counted)) if len(self._right) else ():
            found = _running(weights[rows], self._right)
            seen = np.take(_running(weights[rows], self._counted), self._seen, axis=1)
            precision = found[:, 1:] / np.maximum(seen, 1)
            np.maximum.accumulate(precision[:, ::-1], axis=1, out=precision[:, ::-1])
            recall = found / np.maximum(truths[rows], 1)[:, None]
            if self._style == "area":
                steps = np.diff(recall, axis=1)
            else:
                points = np.searchsorted(np.arange(11) / 10, recall, "right")
                points[:, 0] = 0  # recall 0 is read at the best precision there is
                steps = np.diff(points, axis=1) / 11
            result[rows] = np.einsum("rp,rp->r", precision, steps)
        result[~(truths > 0)] = np.nan
        return result


class _Curve(NamedTuple):
    """Where the right detections of one class, area range and overlap threshold stand.

    Args:
        groups: (P,) int64 group of each right detection, best first.
        seen: (P,) int64, how many detections of the class's list come up to it, itself included.
        corrections: (Q,) int64 groups of the detections that count otherwise than their size says.
        signs: (Q,) int32, 1 where such a detection counts all the same, -1 where it does not.
        corrected: (P,) int64, how many of those come up to each right detection.
    """

    groups: np.ndarray
    seen: np.ndarray
    corrections: np.ndarray
    signs: np.ndarray
    corrected: np.ndarray


class WeightedClass:
    """One class's matches, made ready for weights.

    Args:
        matches: the class's detections and truths (`class_matches`).
        groups: (N,) int64 number of the group that each image is drawn with, 0..G-1.
        limits: numbers of detections of an image, best first, for which recall is wanted, rising; the last is that of
            the matches.
        number: G, how many groups there are.
    """

    def __init__(self, matches: ClassMatches, groups: np.ndarray, limits: tuple[int, ...], number: int) -> None:
        areas, self.thresholds = matches.matched.shape[1:]
        self.counting = np.zeros((number, areas), np.int64)
        np.add.at(self.counting, groups[matches.truth_images], matches.truth_counts)
        self.right = self._right(matches, groups, limits, number)
        ever = np.zeros(len(matches.images), bool)
        ever[matches.candidates] = (matches.matched & ~matches.ignored).any(axis=(1, 2))
        self._copies = _copies(matches.images, matches.scores, ever, groups[matches.images], number)
        self._lists = [self._list(matches, area) for area in range(areas)]

    @staticmethod
    def _right(matches: ClassMatches, groups: np.ndarray, limits: tuple[int, ...], number: int) -> np.ndarray:
        """(G, limits + A - 1) detections that are right, over all thresholds: see `recall` for the columns."""
        areas = matches.matched.shape[1]
        found = np.zeros((number, len(limits) + areas - 1), np.int64)
        owners, ranks = groups[matches.images[matches.candidates]], matches.ranks[matches.candidates]
        for area in range(areas):
            right = matches.counted(area, slice(None))[0].sum(axis=1)
            np.add.at(found[:, len(limits) - 1 + area], owners, right)
            for place, limit in enumerate(limits[:-1] if area == 0 else ()):
                np.add.at(found[:, place], owners, right * (ranks < limit))
        return found

    def _list(self, matches: ClassMatches, area: int) -> tuple[np.ndarray, list[_Curve]]:
        """The owners of all detections of the size, and where the right ones stand, for an area range."""
        candidate = np.full(len(matches.images), -1)
        candidate[matches.candidates] = np.arange(len(matches.candidates))
        of_list = candidate[self._copies.rows]
        places = np.flatnonzero(of_list >= 0)
        right, correction = (part[of_list[places]] for part in matches.counted(area, slice(None)))
        in_area = matches.in_area[self._copies.rows, area]
        owners, seen = self._copies.owners[places], np.cumsum(in_area)[places]
        curves = [_curve(right[:, t], correction[:, t], owners, seen) for t in range(self.thresholds)]
        return self._copies.owners[in_area], curves

    def precision(self, weights: np.ndarray) -> np.ndarray:
        """Mean precision over COCO's 101 recalls: weights (R, G) int32 to (R, A, T), nan without a counted truth."""
        truths = weights.astype(np.float64) @ self.counting
        weights = np.ascontiguousarray(self._copies.weights(weights), np.int32)
        found = [_averages(weights, truths[:, area], *lists) for area, lists in enumerate(self._lists)]
        result = np.stack(found, axis=1)
        result[~(truths > 0)] = np.nan
        return result

    def recall(self, weights: np.ndarray) -> np.ndarray:
        """Mean recall over thresholds: weights (R, G) to (R, limits + A - 1), nan without a counted truth.

        First for every limit over all sizes, then for every further area range with the last limit.
        """
        as_real = weights.astype(np.float64)
        truths = as_real @ self.counting
        limits = self.right.shape[1] - self.counting.shape[1] + 1
        below = np.concatenate([np.repeat(truths[:, :1], limits, axis=1), truths[:, 1:]], axis=1) * self.thresholds
        return np.divide(as_real @ self.right, below, out=np.full(below.shape, np.nan), where=below > 0)


def _curve(right: np.ndarray, correction: np.ndarray, candidates: np.ndarray, seen: np.ndarray) -> _Curve:
    rows, changed = np.flatnonzero(right), np.flatnonzero(correction)
    return _Curve(
        candidates[rows],
        seen[rows],
        candidates[changed],
        correction[changed].astype(np.int32),
        np.searchsorted(changed, rows, "right"),
    )


def _averages(weights: np.ndarray, truths: np.ndarray, owners: np.ndarray, curves: Sequence[_Curve]) -> np.ndarray:
    """(R, T) mean precision at COCO's recalls, of the detections of one class and size.

    Args:
        weights: (R, C) int32, how often each owner stands.
        truths: (R,) float64, how many truths count.
        owners: (D,) int64 owner of each detection, best first.
        curves: where the right ones stand, for each of T thresholds.
    """
    result = np.zeros((len(weights), len(curves)))
    if not any(len(curve.groups) for curve in curves):
        return result
    library = compile_c(_SOURCE)
    if library is not None:
        _by_kernel(library, weights, np.ascontiguousarray(truths), owners, curves, result)
        return result
    for rows in _batches(len(weights), max([len(owners), *(len(curve.groups) for curve in curves)])):
        seen = _running(weights[rows], owners)
        for threshold, curve in enumerate(curves):
            result[rows, threshold] = _average(weights[rows], truths[rows], seen, curve)
    return result


def _by_kernel(
    library: ctypes.CDLL,
    weights: np.ndarray,
    truths: np.ndarray,
    owners: np.ndarray,
    curves: Sequence[_Curve],
    out: np.ndarray,
) -> None:
    """Fills `out` (R, T), several threads sharing the rows."""
    joined = [np.concatenate(parts) for parts in zip(*curves, strict=True)]
    groups, seen, changes, signs, corrected = joined
    lengths = [[len(curve.groups) for curve in curves], [len(curve.corrections) for curve in curves]]
    ends, change_ends = (np.cumsum(numbers) for numbers in lengths)
    arrays = (owners, ends, groups, seen, corrected, change_ends, changes, signs, truths, COCO_RECALLS, weights, out)
    held = [np.ascontiguousarray(array) for array in arrays]
    at = [ctypes.c_void_p(array.ctypes.data) for array in held]
    sizes = [ctypes.c_int64(number) for number in (weights.shape[1], len(owners), len(curves), len(COCO_RECALLS))]

    def run(first: int, last: int) -> None:
        running = np.empty(len(owners) + max(lengths[1]) + 2, np.int32)
        precision, reached = np.empty(max(lengths[0])), np.empty(max(lengths[0]), np.int64)
        space = [ctypes.c_void_p(array.ctypes.data) for array in (running, precision, reached)]
        library.weighted_precision(
            at[10], sizes[0], at[0], sizes[1], *at[1:8], sizes[2], at[8], at[9], sizes[3],
            ctypes.c_double(np.spacing(1)), *space, at[11], ctypes.c_int64(first), ctypes.c_int64(last),
        )  # fmt: skip

    split(run, len(weights), len(weights) * (len(owners) + len(groups)))


def _average(weights: np.ndarray, truths: np.ndarray, seen: np.ndarray, curve: _Curve) -> np.ndarray:
    """(R,) mean precision at COCO's recalls. seen: (R, D + 1) running weights of the detections, 0 first."""
    if not len(curve.groups):
        return np.zeros(len(weights))
    found = _running(weights, curve.groups)
    counted = np.take(seen, curve.seen, axis=1)
    if len(curve.corrections):
        changes = np.zeros((len(weights), len(curve.corrections) + 1), np.int32)
        np.cumsum(np.take(weights, curve.corrections, axis=1) * curve.signs, axis=1, out=changes[:, 1:])
        counted += np.take(changes, curve.corrected, axis=1)
    precision = found[:, 1:] / (counted + np.spacing(1))
    np.maximum.accumulate(precision[:, ::-1], axis=1, out=precision[:, ::-1])
    reached = _recalls_up_to(found, np.maximum(truths, 1)[:, None])
    reached[:, 0] = 0  # recall 0 is read at the best precision there is
    return np.einsum("rp,rp->r", precision, np.diff(reached, axis=1)) / len(COCO_RECALLS)


def _recalls_up_to(found: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """How many of COCO's recalls, k / 100, are reached by so many found of so many truths."""
    recall = found / truths
    nearest = (recall * (len(COCO_RECALLS) - 1) + 0.5).astype(np.intp)
    return nearest + (np.take(COCO_RECALLS, nearest) <= recall)


def _running(weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(R, G) weights and (P,) groups to running sums (R, P + 1) int32, the first 0."""
    total = np.zeros((len(weights), len(groups) + 1), np.int32)
    np.cumsum(np.take(weights, groups, axis=1), axis=1, out=total[:, 1:])
    return total


def _batches(number: int, items: int) -> Iterator[slice]:
    rows = max(1, _AT_ONCE // max(items, 1))
    for start in range(0, number, rows):
        yield slice(start, start + rows)
