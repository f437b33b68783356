"""Average precision and recall of many data sets in which the same images stand several times, COCO's and VOC's.

Matching happens inside an image, so it is done once. What changes with an image's weight is how often its detections
and truths count: running sums over detections, best first, become running sums of weights. The results are those of
evaluating a data set in which image i stands w_i times: copies of a right detection come one after the other, and
precision rises from copy to copy, so that the last one decides (`test_weighted_average_precision.py` compares them).
Only between equal scores of one class in one image may the order of copies differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from toolkit.ops.average_precision import COCO_RECALLS, ClassMatches
from toolkit.ops.voc_average_precision import VocMatches, VocStyle

_AT_ONCE = 1 << 20
"""Detections times data sets that are summed together: bounds the memory (some 50 bytes each)."""


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
        self._counted = groups[matches.images[matches.counts]]
        self._right = groups[matches.images[matches.right]]
        self._seen = np.cumsum(matches.counts)[matches.right]
        self._style = style

    def precision(self, weights: np.ndarray) -> np.ndarray:
        """Average precision at weights (R, G) int32: (R,), nan without a counted truth."""
        truths = weights.astype(np.float64) @ self.counting
        result = np.zeros(len(weights))
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
        areas, thresholds = matches.matched.shape[1:]
        owners = groups[matches.images]
        self.counting = np.zeros((number, areas), np.int64)
        np.add.at(self.counting, groups[matches.truth_images], matches.truth_counts)
        self.right = np.zeros((number, len(limits) + areas - 1), np.int64)
        self._lists: list[tuple[np.ndarray, list[_Curve]]] = []
        for area in range(areas):
            right, correction = matches.counted(area, slice(None))
            candidates = owners[matches.candidates]
            in_area = matches.in_area[:, area]
            seen = np.cumsum(in_area)[matches.candidates]
            curves = [_curve(right[:, t], correction[:, t], candidates, seen) for t in range(thresholds)]
            self._lists.append((owners[in_area], curves))
            column = len(limits) - 1 + area
            np.add.at(self.right[:, column], candidates, right.sum(axis=1))
            if area == 0:
                for place, limit in enumerate(limits[:-1]):
                    within = matches.ranks[matches.candidates] < limit
                    np.add.at(self.right[:, place], candidates[within], right[within].sum(axis=1))
        self.thresholds = thresholds

    def precision(self, weights: np.ndarray) -> np.ndarray:
        """Mean precision over COCO's 101 recalls: weights (R, G) int32 to (R, A, T), nan without a counted truth."""
        truths = weights.astype(np.float64) @ self.counting
        result = np.empty((len(weights), len(self._lists), self.thresholds))
        for area, (owners, curves) in enumerate(self._lists):
            for rows in _batches(len(weights), max([len(owners), *(len(curve.groups) for curve in curves)])):
                seen = _running(weights[rows], owners)
                for threshold, curve in enumerate(curves):
                    result[rows, area, threshold] = _average(weights[rows], truths[rows, area], seen, curve)
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
