"""Metrics of the boundaries between classes: boundary F (BF) and boundary IoU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np

from toolkit.bounds import Probability
from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.evaluators.checks import compared_labels, means_said, percent, shares
from toolkit.ops.boundaries import BAND, TOLERANCE, band_counts, edge_counts
from toolkit.samples import LabelMap, Prediction, Truth

Present = Literal["truth", "either"]


@EVALUATORS.register("boundary")
class BoundaryEvaluator(Evaluator):
    """BF, the mean F-measure of the classes' boundaries, image by image, and boundary IoU over all images together.

    BF (Csurka et al. 2013; the SegNet paper, Badrinarayanan et al. 2017): of a class in an image, precision is the share
    of predicted boundary pixels near a true one, recall the share of true ones near a predicted one, F their harmonic
    mean; the mean over the classes of the image is taken, then over images. A class that fills image and prediction has
    no boundary and no F. Boundary IoU (Cheng et al. 2021) is the IoU of the bands along a class's boundary in truth and
    prediction, from pixels of all images; bIoU is its mean over classes. Ignored pixels count nowhere.

    Args:
        classes: names of the labels 0..K-1.
        tolerance: distance from which boundaries no longer agree, as a share of the image's diagonal.
        band: width of a band along a boundary for boundary IoU, as a share of the image's diagonal.
        present: which classes an image's BF averages: those in its truth, as both papers say, or also those that are
            only predicted, with F = 0, as SegNet's script `computeBFmeasure.m` counts them.
    """

    metric: ClassVar[str] = "BF"
    takes: ClassVar[type[Prediction] | None] = LabelMap
    class_means: ClassVar[bool] = True

    def __init__(
        self,
        classes: list[str],
        tolerance: Probability = TOLERANCE,
        band: Probability = BAND,
        present: Present = "truth",
    ) -> None:
        self.classes = tuple(classes)
        self.tolerance, self.band = tolerance, band
        self.present: Present = present
        count = len(classes)
        self._rows = [{"boundary_edges": np.zeros((0, count, 5), int), "boundary_bands": np.zeros((0, count, 2), int)}]

    def update(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> None:
        """Adds images. Raises DataError, naming the image, for a missing label map, other sizes or unknown labels."""
        self.rows(predictions, truths)

    def rows(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> list[dict[str, np.ndarray]]:
        """Adds images, and gives for each `boundary_edges` (1, K, 5) and `boundary_bands` (1, K, 2), see `ops/boundaries.py`."""
        count = len(self.classes)
        pairs = [compared_labels(self, *pair, count)[:2] for pair in zip(predictions, truths, strict=True)]
        found = [
            {
                "boundary_edges": edge_counts(*pair, count, self.tolerance)[None],
                "boundary_bands": band_counts(*pair, count, self.band)[None],
            }
            for pair in pairs
        ]
        self._rows += found
        return found

    def state(self) -> dict[str, np.ndarray]:
        """`boundary_edges` (N, K, 5) and `boundary_bands` (N, K, 2) of the images so far."""
        return {name: np.concatenate([row[name] for row in self._rows]) for name in self._rows[0]}

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Adds another evaluator's images, or the rows of some."""
        self._rows.append({name: np.asarray(state[name]) for name in self._rows[0]})

    def compute(self) -> dict[str, float | None]:
        """BF, bIoU, then BF/<class> and bIoU/<class>; fractions, None where undefined."""
        state = self.state()
        # Sums of fractions depend on their order by a rounding; sorted, they do not depend on the order of the images.
        order = np.lexsort(state["boundary_edges"].reshape(-1, 5 * len(self.classes)).T)
        ordered = {name: array[order] for name, array in state.items()}
        named = self._named(boundary_numbers(ordered, present=self.present, averaged=self.averaged))
        return {name: _defined(value) for name, value in named.items()}

    def at_weights(self, arrays: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
        """The numbers of many data sets in which images stand as often as their weights (R, N) say."""
        return self._named(boundary_numbers(arrays, weights, self.present, self.averaged))

    def _named(self, numbers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        named = {name: numbers[name] for name in ("BF", "bIoU")}
        for kind in ("BF", "bIoU"):
            named |= {f"{kind}/{name}": numbers[f"{kind}/class"][..., place] for place, name in enumerate(self.classes)}
        return named

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Class | BF | bIoU in per cent, the means last."""
        numbers = self.compute()
        names = [(name, f"/{name}") for name in self.classes] + [("mean", "")]
        rows = [[name, *(percent(numbers[kind + end]) for kind in ("BF", "bIoU"))] for name, end in names]
        return [(f"Boundaries{means_said(self.excluded)}", ["Class", "BF", "bIoU"], rows)]


def boundary_numbers(
    arrays: Mapping[str, np.ndarray],
    weights: np.ndarray | None = None,
    present: Present = "truth",
    averaged: Sequence[int] | None = None,
) -> dict[str, np.ndarray]:
    """BF and bIoU (...), and `BF/class` and `bIoU/class` (..., K), from what was counted for N images; NaN where undefined.

    Args:
        arrays: `boundary_edges` (N, K, 5) and `boundary_bands` (N, K, 2).
        weights: (..., N) how often each image counts, for resampling; None counts each once.
        present: which classes of an image are averaged, see `BoundaryEvaluator`.
        averaged: labels of the classes that are in means over classes; None takes all.

    >>> edges = np.array([[[9, 4, 3, 4, 1]], [[9, 4, 4, 4, 4]]])  # F is 0.375 in one image, 1 in the other
    >>> numbers = boundary_numbers({"boundary_edges": edges, "boundary_bands": np.array([[[1, 2]], [[1, 1]]])})
    >>> round(float(numbers["BF"]), 4), round(float(numbers["bIoU"]), 4)
    (0.6875, 0.6667)
    """
    by_class = boundary_f(arrays["boundary_edges"], present)
    times = np.ones(len(by_class)) if weights is None else np.asarray(weights, np.float64)
    inside, either = (times @ arrays["boundary_bands"][..., column] for column in (0, 1))
    bands = shares(inside, either)
    kept = list(range(by_class.shape[1])) if averaged is None else list(averaged)
    image = _class_mean(by_class[:, kept])
    return {
        "BF": _mean(times, image[:, None])[..., 0],
        "bIoU": _class_mean(bands[..., kept]),
        "BF/class": _mean(times, by_class),
        "bIoU/class": bands,
    }


def boundary_f(edges: np.ndarray, present: Present = "truth") -> np.ndarray:
    """F-measure of each image and class, (N, K), from `boundary_edges`; NaN for a class that is absent or without boundary."""
    pixels, true, found, predicted, right = np.moveaxis(edges, -1, 0)
    precision, recall = (np.nan_to_num(shares(*pair)) for pair in ((right, predicted), (found, true)))
    counts = pixels > 0 if present == "truth" else (pixels > 0) | (predicted > 0)
    f = np.nan_to_num(shares(2 * precision * recall, precision + recall))
    return np.where(counts & (true + predicted > 0), f, np.nan)


def _class_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of the values that are defined."""
    return shares(np.nansum(values, -1), (~np.isnan(values)).sum(-1))


def _mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Weighted means (..., K) of the values (N, K) that are defined."""
    return shares(weights @ np.nan_to_num(values), weights @ (~np.isnan(values)).astype(np.float64))


def _defined(value: np.ndarray) -> float | None:
    return None if np.isnan(value) else float(value)
