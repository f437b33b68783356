"""Metrics of semantic segmentation from one confusion matrix over the whole set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.evaluators.checks import compared_labels, mean_defined, means_said, percent
from toolkit.evaluators.map_errors import map_errors
from toolkit.samples import LabelMap, Prediction, Truth


@EVALUATORS.register("semantic")
class SemanticEvaluator(Evaluator):
    """IoU, Acc, Precision and F1 of every class, their means, aAcc and fwIoU, over all counted pixels of all images.

    With TP, FP and FN the pixels of a class over the whole set (not image by image), leaving out the pixels whose
    truth is ignored: IoU = TP / (TP + FP + FN), Acc = TP / (TP + FN) (recall), Precision = TP / (TP + FP),
    F1 = 2 TP / (2 TP + FP + FN), whose mean is called mF1 and mDice; aAcc = correct pixels / counted pixels; fwIoU is
    the mean of the IoUs, each weighted by the true pixels of its class (Long et al. 2015, arXiv 1411.4038, section 5).

    A class that occurs neither in the truth nor in a prediction has no number (None), one that does not occur in the
    truth no Acc; they do not enter the means. Absent from the truth but predicted somewhere is IoU, F1 and Precision 0,
    and so is Precision where a class of the truth is never predicted. Predicted pixels without a class (255) are wrong.

    classes: names of labels 0..K-1.
    """

    metric: ClassVar[str] = "mIoU"
    takes: ClassVar[type[Prediction] | None] = LabelMap
    class_means: ClassVar[bool] = True

    def __init__(self, classes: list[str]) -> None:
        self.classes = tuple(classes)
        self.confusion = np.zeros((len(classes), len(classes) + 1), np.int64)
        """Pixels by truth (rows) and prediction (columns; the last: no class)."""
        self.images = 0

    def update(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> None:
        """Adds images. Raises DataError, naming the image, for a missing label map, other sizes or unknown labels."""
        for prediction, truth in zip(predictions, truths, strict=True):
            self._add(prediction, truth)

    def rows(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> list[dict[str, np.ndarray]]:
        """Adds images, and gives the cells of each image's matrix that are not 0, their pixels, kinds of errors, and scores."""
        pairs = zip(predictions, truths, strict=True)
        return [_sparse(self._add(prediction, truth)) | self._errors(prediction, truth) for prediction, truth in pairs]

    def _errors(self, prediction: Prediction, truth: Truth) -> dict[str, np.ndarray]:
        if truth.label_map is None or not isinstance(prediction, LabelMap):  # `_add` has refused both
            return {}
        return map_errors(truth.label_map, prediction, len(self.classes))

    def _add(self, prediction: Prediction, truth: Truth) -> np.ndarray:
        """Counts one image; gives its matrix."""
        _, _, counted = compared_labels(self, prediction, truth, len(self.classes))
        self.confusion += counted
        self.images += 1
        return counted

    def state(self) -> dict[str, np.ndarray]:
        """The matrix and the number of images."""
        return {"confusion": self.confusion.copy(), "images": np.array(self.images)}

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Adds another evaluator's matrix, or the rows of some images."""
        if "confusion_cells" in state:
            np.add.at(self.confusion.reshape(-1), state["confusion_cells"], state["confusion_pixels"])
            self.images += len(state["confusion_counts"])
            return
        self.confusion += state["confusion"]
        self.images += int(state["images"])

    def compute(self) -> dict[str, float | None]:
        """mIoU, mAcc, mDice, aAcc, mPrecision, mF1, fwIoU, then IoU, Acc, Precision and F1/<class>; None where undefined."""
        shares = class_shares(self.confusion)
        correct, counted = np.trace(self.confusion), self.confusion.sum()
        means = {f"m{name}": mean_defined(values[label] for label in self.averaged) for name, values in shares.items()}
        numbers = {
            "mIoU": means["mIoU"],
            "mAcc": means["mAcc"],
            "mDice": means["mF1"],
            "aAcc": float(correct / counted) if counted else None,
            "mPrecision": means["mPrecision"],
            "mF1": means["mF1"],
            "fwIoU": _weighted(shares["IoU"], self.confusion.sum(1)),
        }
        for name, values in shares.items():
            numbers.update({f"{name}/{label}": value for label, value in zip(self.classes, values, strict=True)})
        return numbers

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """The familiar two: Class | IoU | Acc | Precision | F1, and aAcc | mIoU | mAcc | mDice ..., in per cent."""
        shares = class_shares(self.confusion)
        columns = [[percent(value) for value in values] for values in shares.values()]
        rows = [list(row) for row in zip(self.classes, *columns, strict=True)]
        numbers = self.compute()
        summary = ["aAcc", "mIoU", "mAcc", "mDice", "mPrecision", "fwIoU"]
        return [
            ("Classes", ["Class", *shares], rows),
            (f"Summary{means_said(self.excluded)}", summary, [[percent(numbers[name]) for name in summary]]),
        ]

    def constant_answer(self) -> tuple[str, float] | None:
        """The class with the most pixels everywhere: its IoU is its share, the others' is 0."""
        true, kept = self.confusion.sum(1), self.averaged
        if np.count_nonzero(true[kept]) < 2:
            return None
        most = kept[int(true[kept].argmax())]
        return f"'{self.classes[most]}' everywhere", float(true[most] / true.sum() / np.count_nonzero(true[kept]))

    def never_right(self) -> list[str]:
        """Classes with true pixels of which not one was found."""
        accuracy = class_shares(self.confusion)["Acc"]
        return [self.classes[label] for label in self.averaged if accuracy[label] == 0]


def _sparse(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """A matrix (K, K + 1) as the numbers of its cells that are not 0, row by row, and what stands there."""
    flat = matrix.reshape(-1)
    cells = np.flatnonzero(flat)
    return {
        "confusion_counts": np.array([len(cells)]),
        "confusion_cells": cells.astype(np.uint16),  # K <= 255, so that there are fewer than 2^16
        "confusion_pixels": flat[cells],
    }


def class_shares(confusion: np.ndarray) -> dict[str, list[float | None]]:
    """IoU, Acc, Precision and F1 of each class of a matrix (K, K + 1) int64; None where a class has none.

    >>> class_shares(np.array([[3, 1, 0], [0, 0, 2]]))["Precision"]  # the second is true twice, predicted once, wrongly
    [1.0, 0.0]
    """
    right = np.diagonal(confusion)
    true, predicted = confusion.sum(1), confusion[:, :-1].sum(0)
    # A true class that is never predicted has precision 0 / 0, which is counted as 0: None would raise the mean.
    return {
        "IoU": _quotients(right, true + predicted - right),
        "Acc": _quotients(right, true),
        "Precision": _quotients(right, np.where(predicted, predicted, true)),
        "F1": _quotients(2 * right, true + predicted),
    }


def _quotients(above: np.ndarray, below: np.ndarray) -> list[float | None]:
    return [a / b if b else None for a, b in zip(above.tolist(), below.tolist(), strict=True)]


def _weighted(values: list[float | None], weights: np.ndarray) -> float | None:
    """The mean of the values that have a weight."""
    total = int(weights.sum())
    if not total:
        return None
    return sum(value * weight for value, weight in zip(values, weights.tolist(), strict=True) if value) / total
