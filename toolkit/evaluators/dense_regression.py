"""Metrics of dense regression, as depth estimation reports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from toolkit.bounds import PositiveFloat
from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.errors import DataError, Problem
from toolkit.evaluators.checks import of_kind, shares
from toolkit.samples import Prediction, Truth, ValueMap

NAMES = ("delta1", "delta2", "delta3", "AbsRel", "SqRel", "RMSE", "RMSElog", "log10", "MAE")
"""In the order of their sums; RMSE and MAE are over all known pixels, the others over those with a truth above 0."""

RELATIVE, KNOWN = 0, 1


@EVALUATORS.register("dense_regression")
class DenseRegressionEvaluator(Evaluator):
    """delta1, delta2, delta3, AbsRel, SqRel, RMSE, RMSElog, log10, MAE over the pixels of all images together.

    The measures of Eigen, Puhrsch and Fergus 2014 (arXiv 1406.2283, section 4.3), with p the prediction and y > 0 the
    truth: delta_k the share of pixels with max(p / y, y / p) < 1.25^k; AbsRel mean |p - y| / y; SqRel
    mean (p - y)^2 / y; RMSElog sqrt mean (ln p - ln y)^2; log10 mean |log10 p - log10 y|. RMSE and MAE, in the unit
    of the values, also count pixels whose truth is 0 or below. Pixels whose truth is NaN do not count.

    Args:
        classes: not used; a value map has one name.
        minimum: predictions below it are raised to it where they are divided or their logarithm is taken.
        maximum: pixels with a truth above it do not count (80 m is usual for KITTI, 10 m for NYU); None counts all.
    """

    metric: ClassVar[str] = "delta1"
    takes: ClassVar[type[Prediction] | None] = ValueMap

    def __init__(self, classes: list[str], minimum: PositiveFloat = 1e-3, maximum: PositiveFloat | None = None) -> None:
        self.minimum, self.maximum = minimum, maximum
        self.sums = np.zeros(len(NAMES), np.float64)
        self.pixels = np.zeros(2, np.int64)
        """Pixels with a truth above 0, and all known ones."""

    def update(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> None:
        """Adds images. Raises DataError, naming the image, without a value map or with one of another size."""
        self.rows(predictions, truths)

    def rows(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> list[dict[str, np.ndarray]]:
        """Adds images, and gives the sums over each one's pixels, and how many those are."""
        found = []
        for prediction, truth in zip(predictions, truths, strict=True):
            if truth.value_map is None:
                raise DataError(Problem(truth.name, "has no value map to compare with", "use another evaluator"))
            prediction = of_kind(self, prediction, ValueMap, truth.name)
            given = prediction.values.numpy()
            if given.shape != truth.value_map.shape:
                message = f"the truth is {truth.value_map.shape} (height, width), the prediction {given.shape}"
                raise DataError(Problem(truth.name, message))
            known = ~np.isnan(truth.value_map)
            if self.maximum is not None:
                known &= np.where(known, truth.value_map, 0) <= self.maximum
            sums, pixels = self._sums(given[known].astype(np.float64), truth.value_map[known].astype(np.float64))
            self.sums += sums
            self.pixels += pixels
            found.append({"value_sums": sums[None], "value_pixels": pixels[None]})
        return found

    def _sums(self, p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sums over the pixels of one image, and their number with a truth above 0 and in all."""
        sums, error = np.zeros(len(NAMES)), p - y
        sums[NAMES.index("RMSE")] = (error**2).sum()
        sums[NAMES.index("MAE")] = abs(error).sum()
        above = y > 0
        pixels = np.array([above.sum(), len(y)], np.int64)
        error, y, p = error[above], y[above], np.maximum(p[above], self.minimum)
        ratio = np.maximum(p / y, y / p)
        logs = np.log(p) - np.log(y)
        for k in (1, 2, 3):
            sums[k - 1] = (ratio < 1.25**k).sum()
        sums[NAMES.index("AbsRel")] = (abs(error) / y).sum()
        sums[NAMES.index("SqRel")] = (error**2 / y).sum()
        sums[NAMES.index("RMSElog")] = (logs**2).sum()
        sums[NAMES.index("log10")] = abs(logs).sum() / np.log(10)
        return sums, pixels

    def state(self) -> dict[str, np.ndarray]:
        """Sums of the errors and the number of pixels, to be added to another process's."""
        return {"sums": self.sums.copy(), "pixels": self.pixels.copy()}

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Adds another evaluator's sums, or the rows of some images."""
        if "value_sums" in state:
            self.sums += state["value_sums"].sum(0)
            self.pixels += state["value_pixels"].sum(0)
            return
        self.sums += state["sums"]
        self.pixels += state["pixels"]

    def compute(self) -> dict[str, float | None]:
        """The measures by name; None when no pixel counts for them."""
        numbers: dict[str, float | None] = {}
        for name, total in zip(NAMES, self.sums.tolist(), strict=True):
            count = int(self.pixels[KNOWN if name in ("RMSE", "MAE") else RELATIVE])
            mean = total / count if count else None
            numbers[name] = mean**0.5 if mean is not None and name.startswith("RMSE") else mean
        return numbers

    def at_weights(self, arrays: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
        """The measures of many data sets in which images stand as often as their weights (R, N) say."""
        sums, pixels = weights @ arrays["value_sums"], weights @ arrays["value_pixels"]
        counts = [pixels[:, KNOWN if name in ("RMSE", "MAE") else RELATIVE] for name in NAMES]
        means = {name: shares(sums[:, place], counts[place]) for place, name in enumerate(NAMES)}
        return {name: np.sqrt(mean) if name.startswith("RMSE") else mean for name, mean in means.items()}

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """One row: the shares delta in per cent, the errors as they are."""
        row = [
            "-" if value is None else f"{100 * value:.2f}" if name.startswith("delta") else f"{value:.4f}"
            for name, value in self.compute().items()
        ]
        return [("Values", list(NAMES), [row])]
