"""Metrics of numbers predicted for whole images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.errors import DataError, Problem
from toolkit.evaluators.checks import mean_defined, means_said, of_kind
from toolkit.samples import ImageValues, Prediction, Truth


@EVALUATORS.register("regression")
class RegressionEvaluator(Evaluator):
    """R2, MAE and RMSE, of each value and their means over the values.

    With e = prediction - truth over all images: MAE = mean |e|, RMSE = sqrt(mean e^2) in the value's own unit,
    R2 = 1 - sum e^2 / sum (truth - mean truth)^2; R2 is None when the truth does not vary. A truth that is NaN does
    not count.

    classes: names of the values.
    """

    metric: ClassVar[str] = "R2"
    takes: ClassVar[type[Prediction] | None] = ImageValues
    class_means: ClassVar[bool] = True

    def __init__(self, classes: list[str]) -> None:
        self.classes = tuple(classes)
        self.sums = np.zeros((5, len(classes)), np.float64)
        """By value: count, sum |e|, sum e^2, mean truth, sum of squared deviations of the truth from that mean."""

    def update(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> None:
        """Adds images. Raises DataError, naming the image, without values or with another number of them."""
        self.rows(predictions, truths)

    def rows(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> list[dict[str, np.ndarray]]:
        """Adds images, and gives the true and the predicted values of each."""
        found = []
        for prediction, truth in zip(predictions, truths, strict=True):
            if truth.image_values is None:
                raise DataError(Problem(truth.name, "has no values to compare with", "use another evaluator"))
            prediction = of_kind(self, prediction, ImageValues, truth.name)
            wanted = np.asarray(truth.image_values, np.float64)
            given = prediction.values.numpy().astype(np.float64)
            if not wanted.shape == given.shape == (len(self.classes),):
                message = f"has {wanted.size} values, {given.size} predicted, for {len(self.classes)} names"
                raise DataError(Problem(truth.name, message))
            self._add_values(wanted, given)
            found.append({"image_values": wanted[None], "predicted_values": given[None]})
        return found

    def _add_values(self, wanted: np.ndarray, given: np.ndarray) -> None:
        known = ~np.isnan(wanted)
        error = np.where(known, given - wanted, 0.0)
        self._add(np.stack([known, abs(error), error**2, np.where(known, wanted, 0.0), np.zeros(len(wanted))]))

    def _add(self, other: np.ndarray) -> None:
        """Joins two sets of sums; means and squared deviations as in Chan, Golub and LeVeque 1979, equation 2.1."""
        count, mean = self.sums[0] + other[0], self.sums[3]
        share = np.divide(other[0], count, out=np.zeros_like(count), where=count > 0)
        gap = other[3] - mean
        spread = self.sums[4] + other[4] + gap**2 * self.sums[0] * share
        self.sums = np.stack([count, *(self.sums[1:3] + other[1:3]), mean + gap * share, spread])

    def state(self) -> dict[str, np.ndarray]:
        """Sums of the errors of each value and their number, to be added to another process's."""
        return {"sums": self.sums.copy()}

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Adds another evaluator's sums, or the rows of some images."""
        if "image_values" in state:
            for wanted, given in zip(state["image_values"], state["predicted_values"], strict=True):
                self._add_values(wanted, given)
            return
        self._add(state["sums"])

    def compute(self) -> dict[str, float | None]:
        """R2, MAE, RMSE (means over the values), then R2/<value>, MAE/<value>, RMSE/<value>."""
        count, absolute, squared, _, spread = self.sums.tolist()
        by_name: dict[str, list[float | None]] = {
            "R2": [1 - a / b if b else None for a, b in zip(squared, spread, strict=True)],
            "MAE": [a / n if n else None for a, n in zip(absolute, count, strict=True)],
            "RMSE": [(a / n) ** 0.5 if n else None for a, n in zip(squared, count, strict=True)],
        }
        numbers = {name: mean_defined(values[place] for place in self.averaged) for name, values in by_name.items()}
        for name, values in by_name.items():
            numbers.update({f"{name}/{value}": v for value, v in zip(self.classes, values, strict=True)})
        return numbers

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Value | R2 | MAE | RMSE, with the means in the last row."""
        numbers, header = self.compute(), ["R2", "MAE", "RMSE"]
        rows = [[name, *(_text(numbers[f"{key}/{name}"]) for key in header)] for name in self.classes]
        means = ["mean", *(_text(numbers[key]) for key in header)]
        return [(f"Values{means_said(self.excluded)}", ["Value", *header], [*rows, means])]


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
