"""What answers that never look at an image would have scored, measured by the same evaluator on the same truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from toolkit.results.record import Record

_BACKGROUNDS = ("background", "bg", "void", "other", "rest")
"""Class names that mean the lack of an object, in lower case."""


class Counting(Protocol):
    """What is asked of an evaluator: it takes arrays of a record and gives numbers."""

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Adds the images of a record's arrays."""

    def compute(self) -> dict[str, float | None]:
        """The numbers by name."""


def baseline(record: Record, evaluator: Callable[[], Counting]) -> list[dict[str, Any]]:
    """The section `baseline`: [{"answer": what is answered everywhere, "metrics": {name: number}}], [] for other tasks.

    Label maps: the class with the most pixels everywhere, and background, where a class is called so. Boxes: no box at
    all, and in every image the mean box of each class (in shares of the image) with the class' share of all boxes as
    its score. All of it is taken from the truth that it is measured on, so it is the best that such an answer can do.

    Args:
        record: the evaluation whose truth is answered.
        evaluator: makes the evaluator of the headline, which has counted nothing yet.
    """
    found = []
    for answer, arrays in _answers(record).items():
        counting = evaluator()
        counting.merge(arrays)
        found.append({"answer": answer, "metrics": counting.compute()})
    return found


def _answers(record: Record) -> dict[str, dict[str, np.ndarray]]:
    """What is answered, and the arrays of a record with that answer."""
    if not len(record):
        return {}
    if "confusion_cells" in record.arrays:
        pixels = record.class_pixels[:, 1]
        labels = [int(pixels.sum(0).argmax())]
        labels += [place for place, name in enumerate(record.classes) if name.lower() in _BACKGROUNDS]
        return {f"'{record.classes[label]}' everywhere": _one_class(pixels, label) for label in dict.fromkeys(labels)}
    if "detection_scores" in record.arrays:
        no_box = np.zeros(0, np.int64)
        return {
            "no box at all": _with_boxes(record, no_box, np.zeros((0, 4)), np.zeros(0)),
            "the mean box of each class": _with_boxes(record, *_mean_boxes(record)),
        }
    return {}


def _one_class(pixels: np.ndarray, label: int) -> dict[str, np.ndarray]:
    """Confusion matrices, sparse, of N images (N, K true pixels) that are all of one class."""
    images, true = np.nonzero(pixels)
    return {
        "confusion_counts": np.bincount(images, minlength=len(pixels)),
        "confusion_cells": (true * (pixels.shape[1] + 1) + label).astype(np.uint16),
        "confusion_pixels": pixels[images, true],
    }


def _mean_boxes(record: Record) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, mean xyxy in shares of the image, and share of all boxes, of each class that has a box."""
    arrays = record.arrays
    images = np.repeat(np.arange(len(record)), arrays["truth_counts"])
    wanted = ~(arrays["truth_crowd"] | arrays["truth_difficult"])
    labels, shares = arrays["truth_labels"][wanted], arrays["truth_boxes"][wanted] / _extent(record)[images[wanted]]
    counts = np.bincount(labels, minlength=len(record.classes))
    sums = np.stack([np.bincount(labels, column, len(counts)) for column in shares.T], 1)
    there = np.flatnonzero(counts)
    return there, sums[there] / counts[there, None], counts[there] / max(1, counts.sum())


def _with_boxes(record: Record, labels: np.ndarray, shares: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """The record's arrays with the same detections in every image, in shares of its size."""
    images = len(record)
    order = np.argsort(-scores, kind="stable")
    boxes = shares[None, order] * _extent(record)[:, None]
    return {
        **record.arrays,
        "detection_counts": np.full(images, len(labels)),
        "detection_boxes": boxes.reshape(-1, 4),
        "detection_labels": np.tile(labels[order], images),
        "detection_scores": np.tile(scores[order], images),
    }


def _extent(record: Record) -> np.ndarray:
    """(N, 4) width, height, width, height of each image in pixels."""
    return record.sizes[:, [1, 0, 1, 0]].astype(np.float64)
