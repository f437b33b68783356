"""COCO's box metrics: AP over ten overlap thresholds, AP50, AP75, by object size, and average recall.

Source of every number: the COCO detection evaluation (https://cocodataset.org/#detection-eval) and `cocoeval.py` of
pycocotools, whose precision, recall and score arrays come out equal to the last digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.evaluators.checks import percent
from toolkit.evaluators.detection_record import NO_BOX, DetectionRecord
from toolkit.ops.average_precision import COCO_IOUS, COCO_LIMITS, PrecisionRecall, TruthTable, coco_precision_recall
from toolkit.samples import Detections, Prediction, Truth

_SIZES = ("all", "small", "medium", "large")
_LINES: tuple[tuple[str, str, float | None, str, int], ...] = (
    ("AP", "precision", None, "all", 100),
    ("AP50", "precision", 0.5, "all", 100),
    ("AP75", "precision", 0.75, "all", 100),
    ("APs", "precision", None, "small", 100),
    ("APm", "precision", None, "medium", 100),
    ("APl", "precision", None, "large", 100),
    ("AR1", "recall", None, "all", 1),
    ("AR10", "recall", None, "all", 10),
    ("AR100", "recall", None, "all", 100),
    ("ARs", "recall", None, "small", 100),
    ("ARm", "recall", None, "medium", 100),
    ("ARl", "recall", None, "large", 100),
)
"""COCO's twelve lines: name, which array, overlap threshold (None: all ten), object size, detections an image."""


@EVALUATORS.register("coco")
class CocoEvaluator(Evaluator):
    """COCO's twelve numbers and AP of every class. Detections and truths in original pixels.

    A class without a true box has no AP (None) and does not enter the mean; true boxes and no detection give AP 0.
    The size of an object is its annotated `area`. A crowd region is ignored, and so is what lies in it. A difficult
    box (VOC's flag, which COCO does not have) is ignored too: as in the VOC devkit, any number of detections may
    match it, with the usual overlap. Of a class, the best 100 detections of an image count.

    classes: names of labels 0..K-1.
    """

    metric: ClassVar[str] = "AP"
    takes: ClassVar[type[Prediction] | None] = Detections

    def __init__(self, classes: list[str]) -> None:
        self.classes = tuple(classes)
        self._record = DetectionRecord(classes, type(self))
        self._curves: PrecisionRecall | None = None

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

    def curves(self) -> PrecisionRecall:
        """Precision, recall and score arrays in pycocotools' layout: thresholds, recalls, classes, sizes, limits."""
        if self._curves is None:
            self._curves = coco_precision_recall(*self._record.tables(), num_classes=len(self.classes))
        return self._curves

    def compute(self) -> dict[str, float | None]:
        """AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl and AP/<class>."""
        curves = self.curves()
        numbers = {line[0]: _summary(curves, *line[1:]) for line in _LINES}
        for place, name in enumerate(self.classes):
            numbers[f"AP/{name}"] = _mean(curves.precision[:, :, place, 0, -1])
        return numbers

    def constant_answer(self) -> tuple[str, float] | None:
        """The answer that finds no box anywhere, and its AP, 0."""
        return NO_BOX if self.compute()[self.metric] is not None else None

    def never_right(self) -> list[str]:
        """Classes with true boxes whose AP is 0."""
        numbers = self.compute()
        return [name for name in self.classes if numbers[f"AP/{name}"] == 0]

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """COCO's twelve lines, and AP, AP50, AP75 and AR of every class with the number of its true boxes."""
        numbers, curves = self.compute(), self.curves()
        familiar = [
            [name, "0.50:0.95" if iou is None else f"{iou:.2f}", size, str(limit), percent(numbers[name])]
            for name, _, iou, size, limit in _LINES
        ]
        truths, _ = self._record.tables()
        counts = np.bincount(truths.labels[~truths.ignored], minlength=len(self.classes))
        by_class = []
        for place, name in enumerate(self.classes):
            precision = curves.precision[:, :, place, 0, -1]
            values = (precision, precision[0], precision[5], curves.recall[:, place, 0, -1])
            by_class.append([name, str(counts[place]), *(percent(_mean(value)) for value in values)])
        return [
            (f"COCO{_beyond_the_limit(truths)}", ["metric", "IoU", "area", "detections", "%"], familiar),
            ("Classes", ["class", "boxes", "AP", "AP50", "AP75", "AR100"], by_class),
        ]


def _beyond_the_limit(truths: TruthTable) -> str:
    """A sentence where pictures hold more boxes of a class than AP looks at: it then stays below 100 % whatever is found."""
    limit, wanted = COCO_LIMITS[-1], ~truths.ignored
    _, counts = np.unique(np.stack([truths.images[wanted], truths.labels[wanted]]), axis=1, return_counts=True)
    missed, total = int(np.maximum(counts - limit, 0).sum()), int(wanted.sum())
    if not missed:
        return ""
    return (
        f": AP looks at the best {limit} detections of a class in a picture, but {int((counts > limit).sum())} times a picture "
        f"holds more boxes of one; {missed} of {total} boxes cannot be found"
    )


def _summary(curves: PrecisionRecall, kind: str, iou: float | None, size: str, limit: int) -> float | None:
    array = curves.precision if kind == "precision" else curves.recall
    if iou is not None:
        array = array[np.isclose(COCO_IOUS, iou)]
    return _mean(array[..., _SIZES.index(size), COCO_LIMITS.index(limit)])


def _mean(values: np.ndarray) -> float | None:
    """Mean of the defined values; -1 marks a class without truths."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else None
