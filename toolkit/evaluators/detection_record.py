"""Detections and true boxes of many images as flat arrays: the state both box evaluators share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.contracts import Evaluator
from toolkit.errors import DataError, Problem, listed
from toolkit.evaluators.checks import of_kind
from toolkit.ops.average_precision import DetectionTable, TruthTable, box_tables
from toolkit.samples import Boxes, Detections, Prediction, Truth

_FIELDS = {
    "image_ids": (np.int64, ()),
    "truth_counts": (np.int64, ()),
    "truth_boxes": (np.float64, (4,)),
    "truth_labels": (np.int64, ()),
    "truth_crowd": (np.bool_, ()),
    "truth_difficult": (np.bool_, ()),
    "truth_area": (np.float64, ()),
    "detection_counts": (np.int64, ()),
    "detection_boxes": (np.float64, (4,)),
    "detection_labels": (np.int64, ()),
    "detection_scores": (np.float64, ()),
}
"""Name, dtype and trailing shape of every array of the state. Boxes are xyxy."""


NO_BOX = ("no box at all", 0.0)
"""The constant answer of every metric of boxes."""


class DetectionRecord:
    """Grows by images; joined with others by `merge`. Nothing here depends on the order of the images.

    classes: names, for their number and for messages. owner: the evaluator it belongs to, for messages.
    """

    def __init__(self, classes: Sequence[str], owner: type[Evaluator]) -> None:
        self.owner = owner
        self.classes = tuple(classes)
        self._parts: dict[str, list[np.ndarray]] = {name: [] for name in _FIELDS}

    def add(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> list[dict[str, np.ndarray]]:
        """Adds images, and gives the arrays of each. Raises DataError when a truth has no boxes, or a number is wrong."""
        if len(predictions) != len(truths):
            raise ValueError(f"{len(predictions)} predictions for {len(truths)} truths")
        # Everything is read before anything is kept, so that a refused batch leaves no half of it behind.
        rows = [self._row(*pair) for pair in zip(predictions, truths, strict=True)]
        for row in rows:
            for name, value in row.items():
                self._parts[name].append(value)
        return rows

    def state(self) -> dict[str, np.ndarray]:
        """All arrays, images in the order of arrival."""
        joined = {}
        for name, (dtype, shape) in _FIELDS.items():
            parts = self._parts[name]
            joined[name] = np.concatenate(parts) if parts else np.zeros((0, *shape), dtype)
            self._parts[name] = [joined[name]]
        return joined

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Adds the arrays of another record."""
        for name, (dtype, shape) in _FIELDS.items():
            self._parts[name].append(np.asarray(state[name], dtype).reshape(-1, *shape))

    def tables(self) -> tuple[TruthTable, DetectionTable]:
        """Everything as two flat tables, images numbered by rank of their id. Difficult boxes and crowds are ignored.

        Raises DataError when an image was added twice: it would count twice.
        """
        state = self.state()
        ids, rank, counts = np.unique(state["image_ids"], return_inverse=True, return_counts=True)
        if (counts > 1).any():
            twice = ids[counts > 1]
            raise DataError(
                Problem(
                    "",
                    f"{len(twice)} images were evaluated twice (ids {listed(twice, 10)})",
                    "give each image its own id",
                )
            )
        return box_tables(state, rank)

    def _row(self, prediction: Prediction, truth: Truth) -> dict[str, np.ndarray]:
        prediction = of_kind(self.owner, prediction, Detections, truth.name)
        if truth.boxes is None:
            raise DataError(Problem(truth.name, "the data set gives no boxes for this image, so no AP can be computed"))
        found = {name: np.asarray(getattr(prediction, name)) for name in Detections._fields}
        self._check_detections(truth.name, found)
        boxes = Boxes(**{name: np.asarray(value) for name, value in truth.boxes._asdict().items()})
        self._check_labels(truth.name, "true", boxes.labels)
        row: dict[str, Any] = {
            "image_ids": [truth.image_id],
            "truth_counts": [boxes.count],
            "truth_boxes": boxes.xyxy,
            "truth_labels": boxes.labels,
            "truth_crowd": boxes.crowd,
            "truth_difficult": boxes.difficult,
            "truth_area": boxes.area,
            "detection_counts": [len(found["scores"])],
            "detection_boxes": found["boxes"],
            "detection_labels": found["labels"],
            "detection_scores": found["scores"],
        }
        # A copy: the arrays may be views of a batch that would otherwise be kept alive.
        return {name: np.array(row[name], dtype).reshape(-1, *shape) for name, (dtype, shape) in _FIELDS.items()}

    def _check_detections(self, name: str, found: dict[str, np.ndarray]) -> None:
        shapes = {field: value.shape for field, value in found.items()}
        number = len(found["scores"])
        if shapes != {"boxes": (number, 4), "scores": (number,), "labels": (number,)}:
            raise DataError(Problem(name, f"detections must be (N, 4) boxes with N scores and labels, not {shapes}"))
        for field in ("boxes", "scores"):
            bad = int((~np.isfinite(found[field])).sum())
            if bad:
                raise DataError(Problem(name, f"{bad} numbers of the detections' {field} are not finite"))
        self._check_labels(name, "predicted", found["labels"])

    def _check_labels(self, name: str, kind: str, labels: np.ndarray) -> None:
        outside = labels[(labels < 0) | (labels >= len(self.classes))]
        if len(outside):
            raise DataError(
                Problem(name, f"{kind} label {int(outside[0])}, but there are {len(self.classes)} classes "
                        f"(0..{len(self.classes) - 1})")
            )  # fmt: skip
