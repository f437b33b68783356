"""Pascal VOC's box metric: average precision of each class at overlap 0.5, and their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.evaluators.checks import means_said, percent
from toolkit.evaluators.detection_record import NO_BOX, DetectionRecord
from toolkit.ops.voc_average_precision import VocCurve, VocStyle, voc_curve
from toolkit.samples import Detections, Prediction, Truth


@EVALUATORS.register("voc")
class VocEvaluator(Evaluator):
    """mAP@0.5 as the VOC development kit computes it (`VOCevaldet.m`). Detections and truths in original pixels.

    A detection belongs to the true box it overlaps most; a second one on the same box is false; difficult boxes
    (and COCO's crowd regions) are neither rewarded nor punished. A class without a true box has no AP (None) and does
    not enter the mean; true boxes and no detection give AP 0.

    Args:
        classes: names of the labels 0..K-1.
        style: which area counts: "area" under the curve (VOC 2010-2012) or its mean at "11_points" (2007).
        plus_one: whether widths and heights are one larger. The devkit adds one because its corners are inclusive;
            boxes here exclude x2 and y2, so without it widths are already the devkit's. Set it to repeat numbers of
            tools that add one to exclusive corners.
    """

    metric: ClassVar[str] = "mAP@0.5"
    takes: ClassVar[type[Prediction] | None] = Detections
    class_means: ClassVar[bool] = True

    def __init__(self, classes: list[str], style: VocStyle = "area", plus_one: bool = False) -> None:
        self.classes = tuple(classes)
        self.style: VocStyle = style
        self.plus_one = plus_one
        self._record = DetectionRecord(classes, type(self))
        self._curves: list[VocCurve] | None = None

    def update(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> None:
        """Adds images. Raises DataError when a truth has no boxes or a prediction is not `Detections`."""
        self.rows(predictions, truths)

    def rows(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> list[dict[str, np.ndarray]]:
        """Adds images, and gives the boxes, labels, flags and scores of each."""
        self._curves = None
        return self._record.add(predictions, truths)

    def state(self) -> dict[str, np.ndarray]:
        """Boxes, labels, flags and scores of all images so far, flat."""
        return self._record.state()

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Adds another evaluator's images."""
        self._curves = None
        self._record.merge(state)

    def curves(self) -> list[VocCurve]:
        """Precision and recall after each detection, by class."""
        if self._curves is None:
            tables = self._record.tables()
            self._curves = [
                voc_curve(*tables, label=label, style=self.style, plus_one=self.plus_one)
                for label in range(len(self.classes))
            ]
        return self._curves

    def compute(self) -> dict[str, float | None]:
        """mAP@0.5 and AP@0.5/<class>."""
        by_class = [curve.ap for curve in self.curves()]
        defined = [ap for ap in (by_class[label] for label in self.averaged) if ap is not None]
        numbers: dict[str, float | None] = {self.metric: float(np.mean(defined)) if defined else None}
        return numbers | {f"AP@0.5/{name}": ap for name, ap in zip(self.classes, by_class, strict=True)}

    def constant_answer(self) -> tuple[str, float] | None:
        """The answer that finds no box anywhere, and its mAP, 0."""
        return NO_BOX if self.compute()[self.metric] is not None else None

    def never_right(self) -> list[str]:
        """Classes with true boxes whose AP is 0."""
        numbers = self.compute()
        return [self.classes[label] for label in self.averaged if numbers[f"AP@0.5/{self.classes[label]}"] == 0]

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """AP of every class with the number of its true boxes and detections; the mean last."""
        rows = [
            [name, str(curve.truths), str(len(curve.recall)), percent(curve.ap)]
            for name, curve in zip(self.classes, self.curves(), strict=True)
        ]
        truths, detections = (sum(int(row[column]) for row in rows) for column in (1, 2))
        mean = [["mean", str(truths), str(detections), percent(self.compute()[self.metric])]]
        title = f"VOC, IoU 0.5, {self.style.replace('_', ' ')}{means_said(self.excluded)}"
        return [(title, ["class", "boxes", "detections", "AP"], rows + mean)]
