"""Metrics of image classification: how often the right class is first, or among the first five."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.errors import DataError, Problem
from toolkit.evaluators.checks import mean_defined, means_said, of_kind, percent, shares
from toolkit.samples import ImageScores, Prediction, Truth

TOP = 5


@EVALUATORS.register("classification")
class ClassificationEvaluator(Evaluator):
    """top1, top5, mAcc and Acc of every class.

    top1 and top5: the share of images whose class has the highest, or one of the five highest, scores; of equal
    scores the lower class id counts as higher. top5 is None with 5 classes or fewer. Acc: top1 among the images of a
    class; mAcc: its mean over the classes that occur.

    classes: names of labels 0..K-1.
    """

    metric: ClassVar[str] = "top1"
    takes: ClassVar[type[Prediction] | None] = ImageScores
    class_means: ClassVar[bool] = True

    def __init__(self, classes: list[str]) -> None:
        self.classes = tuple(classes)
        self.counts = np.zeros((3, len(classes)), np.int64)
        """Images by class: first, among the first five, all."""

    def update(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> None:
        """Adds images. Raises DataError, naming the image, without a class or with scores for other classes."""
        self.rows(predictions, truths)

    def rows(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> list[dict[str, np.ndarray]]:
        """Adds images, and gives the true class of each, its rank among the scores (0: first), and the scores."""
        return [self._add(prediction, truth) for prediction, truth in zip(predictions, truths, strict=True)]

    def _add(self, prediction: Prediction, truth: Truth) -> dict[str, np.ndarray]:
        label = truth.image_label
        if label is None:
            raise DataError(Problem(truth.name, "has no class to compare with", "use another evaluator"))
        if not 0 <= label < len(self.classes):
            raise DataError(Problem(truth.name, f"has class {label}, wanted 0..{len(self.classes) - 1}"))
        prediction = of_kind(self, prediction, ImageScores, truth.name)
        scores = prediction.scores.numpy()
        if scores.shape != (len(self.classes),):
            message = f"has scores of shape {scores.shape} for {len(self.classes)} classes"
            raise DataError(Problem(truth.name, message))
        rank = int((scores > scores[label]).sum() + (scores[:label] == scores[label]).sum())
        self.counts[:, label] += (rank < 1, rank < TOP, 1)
        return {"image_label": np.array([label]), "image_rank": np.array([rank]), "image_scores": scores[None].copy()}

    def state(self) -> dict[str, np.ndarray]:
        """The counts (3, K) of right, nearly right and all images of each class, to be added to another process's."""
        return {"counts": self.counts.copy()}

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Adds another evaluator's counts, or the rows of some images."""
        if "image_rank" in state:
            label, rank = state["image_label"], state["image_rank"]
            for place, counted in enumerate((rank < 1, rank < TOP, rank >= 0)):
                self.counts[place] += np.bincount(label[counted], minlength=len(self.classes))
            return
        self.counts += state["counts"]

    def compute(self) -> dict[str, float | None]:
        """top1, top5, mAcc, then Acc/<class>; fractions, None where undefined."""
        first, five, images = self.counts.sum(1).tolist()
        by_class = [a / b if b else None for a, b in zip(self.counts[0].tolist(), self.counts[2].tolist(), strict=True)]
        numbers = {
            "top1": first / images if images else None,
            "top5": five / images if images and len(self.classes) > TOP else None,
            "mAcc": mean_defined(by_class[label] for label in self.averaged),
        }
        return {**numbers, **{f"Acc/{name}": value for name, value in zip(self.classes, by_class, strict=True)}}

    def at_weights(self, arrays: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
        """The numbers of many data sets in which images stand as often as their weights (R, N) say."""
        own = np.eye(len(self.classes))[arrays["image_label"]]
        rank = arrays["image_rank"]
        images = weights @ own
        first, five = (weights @ (own * (rank < most)[:, None]) for most in (1, TOP))
        by_class = shares(first, images)
        kept = by_class[:, self.averaged]
        total = images.sum(1)
        numbers = {
            "top1": shares(first.sum(1), total),
            "top5": shares(five.sum(1), total if len(self.classes) > TOP else np.zeros_like(total)),
            "mAcc": shares(np.nansum(kept, 1), (~np.isnan(kept)).sum(1)),
        }
        return {**numbers, **{f"Acc/{name}": by_class[:, place] for place, name in enumerate(self.classes)}}

    def constant_answer(self) -> tuple[str, float] | None:
        """The class with the most images for every image."""
        images = self.counts[2]
        if np.count_nonzero(images) < 2:
            return None
        most = int(images.argmax())
        return f"'{self.classes[most]}' for every image", float(images[most] / images.sum())

    def never_right(self) -> list[str]:
        """Classes with images of which not one was recognised."""
        first, _, images = self.counts
        return [name for name, right, count in zip(self.classes, first, images, strict=True) if count and not right]

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Class | Images | Acc, and top1 | top5 | mAcc, in per cent."""
        numbers = self.compute()
        images = self.counts[2].tolist()
        rows = [
            [name, str(count), percent(numbers[f"Acc/{name}"])]
            for name, count in zip(self.classes, images, strict=True)
        ]
        summary = ["top1", "top5", "mAcc"]
        return [
            ("Classes", ["Class", "Images", "Acc"], rows),
            (f"Summary{means_said(self.excluded)}", summary, [[percent(numbers[name]) for name in summary]]),
        ]
