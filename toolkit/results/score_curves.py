"""What each score threshold would give, a class at a time: how many answers, how many of them right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from toolkit.ops.score_bins import SCORE_EDGES, dense_counts
from toolkit.results.box_images import image_boxes, matched
from toolkit.results.record import Record

_ALL = 1 << 40


class Misses(NamedTuple):
    """What is found, so that the share that a threshold misses can be had image by image.

    Args:
        scores: (P,) float64 score of each right answer (or bin of right pixels).
        shares: (P,) float64 share of a unit's true objects or pixels that it finds; a unit's add up to 1 at most.
        units: number of units, images or groups of images, that hold the class.
    """

    scores: np.ndarray
    shares: np.ndarray
    units: int


class ScoreCurve(NamedTuple):
    """Counts of a class for falling thresholds; entry i is of the answers with a score of at least `thresholds[i]`.

    Args:
        thresholds: (M,) float64 scores 0..1, falling, each once.
        right: (M,) int64 answers from each score on that are right.
        answers: (M,) int64 answers from each score on, right or wrong.
        truths: true objects or pixels of the class, found or not.
        misses: the same image by image.
    """

    thresholds: np.ndarray
    right: np.ndarray
    answers: np.ndarray
    truths: int
    misses: Misses

    def at(self, threshold: float) -> tuple[int, int]:
        """(right, answers) with a score of at least a threshold."""
        place = int(np.searchsorted(-self.thresholds, -threshold, side="right")) - 1
        return (int(self.right[place]), int(self.answers[place])) if place >= 0 else (0, 0)


def score_curves(record: Record) -> list[ScoreCurve]:
    """A curve a class: of boxes at IoU 0.5, or of pixels. [] where the record holds no scores.

    A box is right when it finds a true box of its class, best first; a pixel when it is of that class. Detections in crowds
    and on difficult boxes are no answers. There is no limit on the detections of an image: a prediction has none.
    """
    if "detection_scores" in record.arrays:
        return _of_boxes(record)
    if "score_cells" in record.arrays:
        return _of_pixels(record)
    return []


def curve_of(scores: np.ndarray, right: np.ndarray, weights: np.ndarray, truths: int, misses: Misses) -> ScoreCurve:
    """A curve over the scores that occur.

    Args:
        scores: (D,) float64 score of each answer, or of each bin of them.
        right: (D,) int64 how many of it are right.
        weights: (D,) int64 how many it stands for.
        truths: true objects or pixels of the class.
        misses: the same image by image.

    >>> none = Misses(np.zeros(0), np.zeros(0), 0)
    >>> curve = curve_of(np.array([0.5, 0.9, 0.5]), np.array([1, 1, 0]), np.ones(3, int), 4, none)
    >>> curve.thresholds.tolist(), curve.right.tolist(), curve.answers.tolist()
    ([0.9, 0.5], [1, 2], [1, 3])
    """
    thresholds, places = np.unique(-scores, return_inverse=True)
    counts = [np.bincount(places, values, len(thresholds)).astype(np.int64) for values in (right, weights)]
    return ScoreCurve(-thresholds, np.cumsum(counts[0]), np.cumsum(counts[1]), truths, misses)


def _of_boxes(record: Record) -> list[ScoreCurve]:
    arrays, count = record.arrays, len(record.classes)
    right, counted = (np.zeros(len(arrays["detection_scores"]), bool) for _ in range(2))
    truths = np.zeros((len(record), count), np.int64)
    for number, image in enumerate(image_boxes(arrays, overlap=0.5, limit=_ALL)):
        right[image.detections] = matched(image.ious, image.same, 0.5) >= 0
        counted[image.detections] = right[image.detections] | ~image.spared
        truths[number] = np.bincount(image.truth_labels, minlength=count)
    images = np.repeat(np.arange(len(record)), arrays["detection_counts"])
    curves = []
    for label in range(count):
        own = counted & (arrays["detection_labels"] == label)
        scores, good = arrays["detection_scores"][own], right[own]
        misses = _misses(record, truths[:, label], images[own][good], scores[good], np.ones(int(good.sum())))
        curves.append(
            curve_of(scores, good.astype(np.int64), np.ones(len(scores), np.int64), int(truths[:, label].sum()), misses)
        )
    return curves


def _of_pixels(record: Record) -> list[ScoreCurve]:
    arrays, count = record.arrays, len(record.classes)
    cells, pixels = arrays["score_cells"].astype(np.int64), arrays["score_pixels"]
    images = np.repeat(np.arange(len(record)), arrays["score_counts"])
    summed, truths = dense_counts(cells, pixels, count), record.class_pixels[:, 1]
    curves = []
    for label in range(count):
        own = (cells // (2 * len(SCORE_EDGES)) == label) & (cells % 2 == 1)
        scores = SCORE_EDGES[cells[own] // 2 % len(SCORE_EDGES)]
        misses = _misses(record, truths[:, label], images[own], scores, pixels[own])
        filled = summed[label].sum(1) > 0
        curves.append(
            curve_of(
                SCORE_EDGES[filled], summed[label, filled, 1], summed[label, filled].sum(1),
                int(truths[:, label].sum()), misses,
            )
        )  # fmt: skip
    return curves


def _misses(record: Record, truths: np.ndarray, images: np.ndarray, scores: np.ndarray, found: np.ndarray) -> Misses:
    """The right answers as shares of their unit: a group of images, each of which counts the same in it.

    Args:
        record: says which images belong together.
        truths: (N,) true objects or pixels of the class in each image.
        images: (P,) number of the image of each right answer.
        scores: (P,) score of each.
        found: (P,) how many true objects or pixels each stands for.
    """
    holding, groups = truths > 0, record.group_numbers
    members = np.bincount(groups[holding], minlength=int(groups.max(initial=-1)) + 1)
    shares = found / np.maximum(truths[images] * members[groups[images]], 1)
    return Misses(scores, shares, int((members > 0).sum()))
