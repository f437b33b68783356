"""COCO's box metrics: AP over ten overlap thresholds, AP50, AP75, by object size, and average recall.

Source of every number: the COCO detection evaluation (https://cocodataset.org/#detection-eval) and `cocoeval.py` of
pycocotools, whose precision, recall and score arrays come out equal to the last digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, TypeVar

import numpy as np

from toolkit.bounds import PositiveInt
from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.evaluators.checks import means_said, percent
from toolkit.evaluators.detection_record import NO_BOX, DetectionRecord
from toolkit.ops.average_precision import (
    COCO_IOUS,
    COCO_LIMITS,
    DetectionTable,
    PrecisionRecall,
    TruthTable,
    coco_precision_recall,
)
from toolkit.samples import Detections, Prediction, Truth

T = TypeVar("T", TruthTable, DetectionTable)

_SIZES = ("all", "small", "medium", "large")


def _lines(limits: Sequence[int]) -> list[tuple[str, str, float | None, str, int]]:
    """COCO's twelve lines: name, which array, overlap threshold (None: all ten), object size, detections an image."""
    most = limits[-1]
    precision: list[tuple[str, float | None, str]] = [("AP", None, "all"), ("AP50", 0.5, "all"), ("AP75", 0.75, "all")]
    precision += [(f"AP{size[0]}", None, size) for size in _SIZES[1:]]
    recall = [(f"AR{limit}", "all", limit) for limit in limits] + [(f"AR{size[0]}", size, most) for size in _SIZES[1:]]
    return [
        *((name, "precision", iou, size, most) for name, iou, size in precision),
        *((name, "recall", None, size, limit) for name, size, limit in recall),
    ]


@EVALUATORS.register("coco")
class CocoEvaluator(Evaluator):
    """COCO's twelve numbers and AP of every class. Detections and truths in original pixels.

    A class without a true box has no AP (None) and does not enter the mean; true boxes and no detection give AP 0.
    The size of an object is its annotated `area`. A crowd region is ignored, and so is what lies in it. A difficult
    box (VOC's flag, which COCO does not have) is ignored too: as in the VOC devkit, any number of detections may
    match it, with the usual overlap.

    Args:
        classes: names of the labels 0..K-1.
        max_detections: detections of a class that count in one image, best first; COCO's is 100. Where images hold more
            boxes of a class, AP cannot reach 100 %, which the table says. Numbers of two limits are not comparable.
    """

    metric: ClassVar[str] = "AP"
    takes: ClassVar[type[Prediction] | None] = Detections
    class_means: ClassVar[bool] = True

    def __init__(self, classes: list[str], max_detections: PositiveInt = COCO_LIMITS[-1]) -> None:
        self.classes = tuple(classes)
        self.limits = (*(limit for limit in COCO_LIMITS[:-1] if limit < max_detections), max_detections)
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
            self._curves = coco_precision_recall(
                *self._record.tables(), num_classes=len(self.classes), limits=self.limits
            )
        return self._curves

    def by_image(self, arrays: Mapping[str, np.ndarray]) -> list[dict[str, float | None]]:
        """The numbers of each image alone: a class of an image is as a class of its own, and many are matched at once."""
        record = DetectionRecord(self.classes, type(self))
        record.merge(arrays)
        truths, detections = record.tables()
        _, ranks = np.unique(arrays["image_ids"], return_inverse=True)
        pairs, own = np.unique(truths.images * len(self.classes) + truths.labels, return_inverse=True)
        found = detections.images * len(self.classes) + detections.labels
        known = np.isin(found, pairs)
        detections = DetectionTable(*(field[known] for field in detections))
        numbers: list[dict[str, float | None]] = [{} for _ in ranks]
        places = np.argsort(ranks)
        for first, last in _whole_images(pairs // len(self.classes), len(ranks)):
            start, stop = np.searchsorted(pairs // len(self.classes), (first, last))
            curves = coco_precision_recall(
                _of_pairs(truths, own, start, stop),
                _of_pairs(detections, np.searchsorted(pairs, found[known]), start, stop),
                num_classes=int(stop - start), limits=self.limits,
            )  # fmt: skip
            ends = np.searchsorted(pairs // len(self.classes), np.arange(first, last + 1)) - start
            for rank, (begin, end) in enumerate(pairwise(ends.tolist()), start=first):
                part = PrecisionRecall(
                    curves.precision[:, :, begin:end], curves.recall[:, begin:end], curves.scores[:, :, begin:end]
                )
                labels = pairs[start + begin : start + end] % len(self.classes)
                numbers[places[rank]] = self._numbers(part, labels.tolist())
        return numbers

    def compute(self) -> dict[str, float | None]:
        """AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl and AP/<class>.

        With another `max_detections` its number stands in the name of AR100.
        """
        return self._numbers(self.curves(), range(len(self.classes)))

    def _numbers(self, curves: PrecisionRecall, labels: Sequence[int]) -> dict[str, float | None]:
        """The numbers of curves whose classes are those `labels`."""
        kept = [place for place, label in enumerate(labels) if self.classes[label] not in self.excluded]
        averaged = _of_classes(curves, kept)
        numbers = {
            name: _summary(averaged, kind, iou, size, self.limits.index(limit))
            for name, kind, iou, size, limit in _lines(self.limits)
        }
        own = {label: _mean(curves.precision[:, :, place, 0, -1]) for place, label in enumerate(labels)}
        return numbers | {f"AP/{name}": own.get(label) for label, name in enumerate(self.classes)}

    def constant_answer(self) -> tuple[str, float] | None:
        """The answer that finds no box anywhere, and its AP, 0."""
        return NO_BOX if self.compute()[self.metric] is not None else None

    def never_right(self) -> list[str]:
        """Classes with true boxes whose AP is 0."""
        numbers = self.compute()
        return [self.classes[label] for label in self.averaged if numbers[f"AP/{self.classes[label]}"] == 0]

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """COCO's twelve lines, and AP, AP50, AP75 and AR of every class with the number of its true boxes."""
        numbers, curves = self.compute(), self.curves()
        familiar = [
            [name, "0.50:0.95" if iou is None else f"{iou:.2f}", size, str(limit), percent(numbers[name])]
            for name, _, iou, size, limit in _lines(self.limits)
        ]
        truths, detections = self._record.tables()
        counts = np.bincount(truths.labels[~truths.ignored], minlength=len(self.classes))
        by_class = []
        for place, name in enumerate(self.classes):
            precision = curves.precision[:, :, place, 0, -1]
            values = (precision, precision[0], precision[5], curves.recall[:, place, 0, -1])
            by_class.append([name, str(counts[place]), *(percent(_mean(value)) for value in values)])
        return [
            (
                f"COCO{means_said(self.excluded)}{_beyond_the_limits(truths, detections, self.limits[-1])}",
                ["metric", "IoU", "area", "detections", "%"],
                familiar,
            ),
            ("Classes", ["class", "boxes", "AP", "AP50", "AP75", f"AR{self.limits[-1]}"], by_class),
        ]


def _of_classes(curves: PrecisionRecall, places: slice | list[int]) -> PrecisionRecall:
    return PrecisionRecall(curves.precision[:, :, places], curves.recall[:, places], curves.scores[:, :, places])


_PAIRS_AT_ONCE = 64
"""Classes of images that are matched together; their curves take about 12 MB."""


def _whole_images(image_of_pair: np.ndarray, images: int) -> Iterator[tuple[int, int]]:
    """Ranges of images whose classes are few enough to be matched together; one image at least."""
    ends = np.searchsorted(image_of_pair, np.arange(images + 1))
    first = 0
    while first < images:
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + _PAIRS_AT_ONCE, side="right")) - 1)
        yield first, last
        first = last


def _of_pairs(table: T, numbers: np.ndarray, start: int, stop: int) -> T:
    """The rows of a table whose number is in a range, with it, from 0 on, as their label."""
    inside = (numbers >= start) & (numbers < stop)
    part = type(table)(*(field[inside] for field in table))
    return part._replace(labels=numbers[inside] - start)


def _beyond_the_limits(truths: TruthTable, detections: DetectionTable, limit: int) -> str:
    """A sentence where pictures hold more boxes than AP looks at, or than the model ever gives: AP then stays below 100 %."""
    wanted = ~truths.ignored
    _, counts = np.unique(np.stack([truths.images[wanted], truths.labels[wanted]]), axis=1, return_counts=True)
    missed, total = int(np.maximum(counts - limit, 0).sum()), int(wanted.sum())
    if missed:
        return (
            f": AP looks at the best {limit} detections of a class in a picture, but {int((counts > limit).sum())} times "
            f"a picture holds more boxes of one; {missed} of {total} boxes cannot be found "
            f"(evaluator coco's max_detections: {int(counts.max())} would look at all)"
        )
    boxes, found = (np.bincount(images) for images in (truths.images[wanted], detections.images))
    most = int(found.max(initial=0))
    crowded = int((boxes > most).sum())
    # Equally many in several pictures are a limit of the model's; in one, or when they are few, it may be chance.
    if most >= 20 and crowded and int((found == most).sum()) > 1:
        return (
            f": no picture was given more than {most} detections, which looks like the model's limit, but {crowded} hold "
            f"more boxes (a detector's is model.head.test.per_image)"
        )
    return ""


def _summary(curves: PrecisionRecall, kind: str, iou: float | None, size: str, limit: int) -> float | None:
    """Mean over what a line of the table is about. limit: place among the limits."""
    array = curves.precision if kind == "precision" else curves.recall
    if iou is not None:
        array = array[np.isclose(COCO_IOUS, iou)]
    return _mean(array[..., _SIZES.index(size), limit])


def _mean(values: np.ndarray) -> float | None:
    """Mean of the defined values; -1 marks a class without truths."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else None
