"""Metrics of cells in electron microscopy: V_rand, V_info, warping error and pixel error of the ISBI 2012 challenge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from toolkit.bounds import NonNegativeInt
from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.errors import ConfigError, DataError, Problem
from toolkit.evaluators.checks import compared_labels, percent, shares
from toolkit.ops.region_agreement import information_score, overlaps, rand_pairs, regions, thinned_regions
from toolkit.ops.warping import warping_mismatches
from toolkit.samples import IGNORE_INDEX, LabelMap, Prediction, Truth

NAMES = ("V_rand", "V_rand_split", "V_rand_merge", "V_info", "warping_error", "pixel_error")


@EVALUATORS.register("em_segmentation")
class EmSegmentationEvaluator(Evaluator):
    """V_rand, V_info, warping error and pixel error of cells that borders divide, as in the ISBI 2012 challenge.

    Cells are the connected regions of one class (`ops/region_agreement.py`, `ops/warping.py` for sources): V_rand is the
    F-score of pixel pairs that belong together, over the pairs of all images; V_rand_split and V_rand_merge, how little
    is split and merged, are its recall and precision. V_info is the images' mean. warping_error is the share of pixels
    that change how regions hang together, pixel_error 1 - the F-score of the class's pixels. With `thresholds` each number
    is the best over all thresholds, as the challenge has it (the split and merge those of V_rand's).

    Args:
        classes: names of the labels 0..K-1.
        objects: name of the class whose regions are the cells; null takes the last class. All others are border.
        thresholds: how many thresholds on the probability of `objects` are tried, 0, 1/N, 2/N ...; the challenge has 10.
            Needs two classes. 0 takes the labels as they are predicted.
    """

    metric: ClassVar[str] = "V_rand"
    takes: ClassVar[type[Prediction] | None] = LabelMap

    def __init__(self, classes: list[str], objects: str | None = None, thresholds: NonNegativeInt = 0) -> None:
        self.classes = tuple(classes)
        self.label = _label_of(self.classes, objects)
        if thresholds and len(classes) != 2:
            message = f"tries thresholds on the probability of one of two classes, and there are {len(classes)}"
            raise ConfigError(Problem("evaluator 'em_segmentation'", message, "remove thresholds"))
        self.thresholds = [number / thresholds for number in range(thresholds)]
        self.wants_scores = bool(thresholds)
        tried = max(1, thresholds)
        self._rows = [
            {
                "em_pairs": np.zeros((0, tried, 3)),
                "em_information": np.zeros((0, tried)),
                "em_warping": np.zeros((0, tried), np.int64),
                "em_pixels": np.zeros((0, tried, 4), np.int64),
            }
        ]

    def update(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> None:
        """Adds images. Raises DataError, naming the image, for a missing label map, other sizes, unknown labels, no scores."""
        self.rows(predictions, truths)

    def rows(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> list[dict[str, np.ndarray]]:
        """Adds images, and gives for each what was counted at T thresholds, the first axis being 1.

        `em_pairs` (1, T, 3): pairs of pixels in one region in both, in the prediction, in the truth. `em_information`
        (1, T): V_info, NaN without a true cell. `em_warping` (1, T): wrong pixels after warping. `em_pixels` (1, T, 4):
        pixels of cells that are right, predicted, true; all pixels.
        """
        found = [self._row(*pair) for pair in zip(predictions, truths, strict=True)]
        self._rows += found
        return found

    def _row(self, prediction: Prediction, truth: Truth) -> dict[str, np.ndarray]:
        labels, predicted, _ = compared_labels(self, prediction, truth, len(self.classes))
        true, counted = labels == self.label, labels != IGNORE_INDEX
        true_regions = regions(true)
        parts = []
        for inside, certainty in self._answers(prediction, predicted, truth.name):
            found = overlaps(true_regions, thinned_regions(inside))
            # Where nobody knows, the truth is what is predicted, so that nothing is wrong there.
            wrong = warping_mismatches(np.where(counted, true, inside), inside, certainty)
            masks = (true & inside, inside & counted, true, counted)
            pixels = [int(np.count_nonzero(mask)) for mask in masks]
            parts.append((rand_pairs(found), information_score(found), wrong, pixels))
        return {
            name: np.array([list(part)]) for name, part in zip(self._rows[0], zip(*parts, strict=True), strict=True)
        }

    def _answers(
        self, prediction: Prediction, labels: np.ndarray, name: str
    ) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """The predicted cells (H, W) bool, and how certain they are, at each threshold."""
        if not self.thresholds:
            return [(labels == self.label, None)]
        scores = prediction.scores if isinstance(prediction, LabelMap) else None
        if scores is None:
            raise DataError(
                Problem(name, "is predicted without probabilities, which thresholds need", "remove thresholds")
            )
        chosen = scores.numpy().astype(np.float64)
        probability = np.where(labels == self.label, chosen, 1 - chosen)
        return [(probability > threshold, abs(probability - threshold)) for threshold in self.thresholds]

    def state(self) -> dict[str, np.ndarray]:
        """What was counted for the images so far, as `rows` gives it, with one row an image."""
        return {name: np.concatenate([row[name] for row in self._rows]) for name in self._rows[0]}

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Adds another evaluator's images, or the rows of some."""
        self._rows.append({name: np.asarray(state[name]) for name in self._rows[0]})

    def compute(self) -> dict[str, float | None]:
        """V_rand, V_rand_split, V_rand_merge, V_info, warping_error, pixel_error; fractions, None where undefined."""
        state = self.state()
        # Sums of fractions depend on their order by a rounding; sorted, they do not depend on the order of the images.
        state["em_information"] = np.sort(state["em_information"], axis=0)
        numbers = em_numbers(state)
        return {name: None if np.isnan(numbers[name]) else float(numbers[name]) for name in NAMES}

    def at_weights(self, arrays: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
        """The numbers of many data sets in which images stand as often as their weights (R, N) say."""
        return em_numbers(arrays, weights)

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """One row in per cent."""
        numbers = self.compute()
        said = f", best of {len(self.thresholds)} thresholds" if self.thresholds else ""
        return [
            (f"Cells ({self.classes[self.label]}){said}", list(NAMES), [[percent(numbers[name]) for name in NAMES]])
        ]


def em_numbers(arrays: Mapping[str, np.ndarray], weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The numbers of `EmSegmentationEvaluator`, each (...), from what was counted for N images; NaN where undefined.

    Args:
        arrays: `em_pairs` (N, T, 3), `em_information` (N, T), `em_warping` (N, T) and `em_pixels` (N, T, 4).
        weights: (..., N) how often each image counts, for resampling; None counts each once.

    >>> arrays = {"em_pairs": np.array([[[6.0, 8, 10]]]), "em_information": np.array([[0.5]]),
    ...           "em_warping": np.array([[1]]), "em_pixels": np.array([[[3, 4, 4, 10]]])}
    >>> {name: round(float(value), 4) for name, value in em_numbers(arrays).items()}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'V_rand': 0.6667, 'V_rand_split': 0.6, 'V_rand_merge': 0.75, 'V_info': 0.5,
     'warping_error': 0.1, 'pixel_error': 0.25}
    """
    images = len(arrays["em_information"])
    times = np.ones(images) if weights is None else np.asarray(weights, np.float64)

    def total(values: np.ndarray) -> np.ndarray:
        return times @ np.asarray(values, np.float64)

    both, predicted, true = (total(arrays["em_pairs"][..., column]) for column in range(3))
    right, given, wanted, pixels = (total(arrays["em_pixels"][..., column]) for column in range(4))
    known = ~np.isnan(arrays["em_information"])
    information = shares(total(np.where(known, arrays["em_information"], 0)), total(known))
    rand = shares(2 * both, predicted + true)
    best = np.nan_to_num(rand).argmax(-1)[..., None]
    return {
        "V_rand": _best(rand),
        "V_rand_split": np.take_along_axis(shares(both, true), best, -1)[..., 0],
        "V_rand_merge": np.take_along_axis(shares(both, predicted), best, -1)[..., 0],
        "V_info": _best(information),
        "warping_error": -_best(-shares(total(arrays["em_warping"]), pixels)),
        "pixel_error": 1 - _best(shares(2 * right, given + wanted)),
    }


def _best(values: np.ndarray) -> np.ndarray:
    """The largest along the last axis, of the thresholds; NaN where none is defined."""
    largest = np.where(np.isnan(values), -np.inf, values).max(-1)
    return np.where(np.isneginf(largest), np.nan, largest)


def _label_of(classes: tuple[str, ...], name: str | None) -> int:
    if name is None:
        return len(classes) - 1
    if name not in classes:
        message = f"objects names '{name}', but the classes are {', '.join(classes)}"
        raise ConfigError(Problem("evaluator 'em_segmentation'", message, "name one of the classes"))
    return classes.index(name)
