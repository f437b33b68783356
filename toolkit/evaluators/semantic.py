"""Metrics of semantic segmentation from one confusion matrix over the whole set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.errors import DataError, Problem
from toolkit.evaluators.checks import mean_defined, of_kind, percent
from toolkit.ops.confusion import confusion_matrix
from toolkit.samples import LabelMap, Prediction, Truth


@EVALUATORS.register("semantic")
class SemanticEvaluator(Evaluator):
    """mIoU, mAcc, mDice and aAcc, and IoU and Acc of every class, over all counted pixels of all images together.

    With TP, FP and FN the pixels of a class over the whole set (not image by image), leaving out the pixels whose
    truth is ignored: IoU = TP / (TP + FP + FN), Acc = TP / (TP + FN) (recall), Dice = 2 TP / (2 TP + FP + FN);
    aAcc = correct pixels / counted pixels. mIoU, mAcc and mDice are means over classes. A class that occurs neither in
    the truth nor in a prediction has no IoU and no Dice (None), one that does not occur in the truth no Acc; they do
    not enter the means. Absent from the truth but predicted somewhere is IoU 0. Predicted pixels without a class (255)
    are wrong.

    classes: names of labels 0..K-1.
    """

    metric: ClassVar[str] = "mIoU"
    takes: ClassVar[type[Prediction] | None] = LabelMap

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
        """Adds images, and gives the cells of each image's matrix that are not 0, and their pixels."""
        pairs = zip(predictions, truths, strict=True)
        return [_sparse(self._add(prediction, truth)) for prediction, truth in pairs]

    def _add(self, prediction: Prediction, truth: Truth) -> np.ndarray:
        """Counts one image; gives its matrix."""
        if truth.label_map is None:
            raise DataError(Problem(truth.name, "has no label map to compare with", "use another evaluator"))
        prediction = of_kind(self, prediction, LabelMap, truth.name)
        try:
            counted = confusion_matrix(truth.label_map, prediction.labels.numpy(), len(self.classes))
        except ValueError as error:
            raise DataError(Problem(truth.name, str(error))) from error
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
        """mIoU, mAcc, mDice, aAcc, then IoU/<class> and Acc/<class>; fractions, None where undefined."""
        iou, accuracy, dice = self._by_class()
        correct, counted = np.trace(self.confusion), self.confusion.sum()
        numbers = {
            "mIoU": mean_defined(iou),
            "mAcc": mean_defined(accuracy),
            "mDice": mean_defined(dice),
            "aAcc": float(correct / counted) if counted else None,
        }
        numbers.update({f"IoU/{name}": value for name, value in zip(self.classes, iou, strict=True)})
        numbers.update({f"Acc/{name}": value for name, value in zip(self.classes, accuracy, strict=True)})
        return numbers

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """The familiar two: Class | IoU | Acc, and aAcc | mIoU | mAcc | mDice, in per cent."""
        iou, accuracy, _ = self._by_class()
        rows = [[name, percent(i), percent(a)] for name, i, a in zip(self.classes, iou, accuracy, strict=True)]
        numbers = self.compute()
        summary = ["aAcc", "mIoU", "mAcc", "mDice"]
        return [
            ("Classes", ["Class", "IoU", "Acc"], rows),
            ("Summary", summary, [[percent(numbers[name]) for name in summary]]),
        ]

    def constant_answer(self) -> tuple[str, float] | None:
        """The class with the most pixels everywhere: its IoU is its share, the others' is 0."""
        true = self.confusion.sum(1)
        if np.count_nonzero(true) < 2:
            return None
        most = int(true.argmax())
        return f"'{self.classes[most]}' everywhere", float(true[most] / true.sum() / np.count_nonzero(true))

    def never_right(self) -> list[str]:
        """Classes with true pixels of which not one was found."""
        _, accuracy, _ = self._by_class()
        return [name for name, share in zip(self.classes, accuracy, strict=True) if share == 0]

    def _by_class(self) -> tuple[list[float | None], list[float | None], list[float | None]]:
        """IoU, accuracy and Dice of each class."""
        right = np.diagonal(self.confusion)
        true, predicted = self.confusion.sum(1), self.confusion[:, :-1].sum(0)
        return (
            _quotients(right, true + predicted - right),
            _quotients(right, true),
            _quotients(2 * right, true + predicted),
        )


def _sparse(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """A matrix (K, K + 1) as the numbers of its cells that are not 0, row by row, and what stands there."""
    flat = matrix.reshape(-1)
    cells = np.flatnonzero(flat)
    return {
        "confusion_counts": np.array([len(cells)]),
        "confusion_cells": cells.astype(np.uint16),  # K <= 255, so that there are fewer than 2^16
        "confusion_pixels": flat[cells],
    }


def _quotients(above: np.ndarray, below: np.ndarray) -> list[float | None]:
    return [a / b if b else None for a, b in zip(above.tolist(), below.tolist(), strict=True)]
