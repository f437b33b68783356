"""Detections as files of `predict`: COCO results and YOLO labels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from toolkit.coco_results import box_entries
from toolkit.inference.writers.base import Writer, write_whole
from toolkit.labels import Color
from toolkit.printing import printable
from toolkit.samples import Detections, Prediction


class CocoWriter(Writer):
    """`detections.json` for all images, in COCO's results format.

    A folder of images has no ids, so image_id counts from 1 in the order of the images, and each entry also names its
    `file` (output stem) and `category`. Category ids are those of the training data; else they count from 1.

    Args:
        folder: folder that the file goes to.
        classes: names of the labels 0..K-1.
        palette: (r, g, b) of each class; not used.
        ids: category id of each class in the training data's files; () counts from 1.
    """

    suffix: ClassVar[str] = ".json"
    takes: ClassVar[tuple[type, ...]] = (Detections,)
    files: ClassVar[tuple[str, ...]] = ("detections.json",)

    def __init__(
        self, folder: Path, classes: Sequence[str], palette: Sequence[Color] = (), ids: Sequence[int] = ()
    ) -> None:
        super().__init__(folder, classes, palette, ids)
        self._entries: list[dict[str, Any]] = []
        self._images = 0

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Keeps the entries of one image.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        self._images += 1
        found = _detections(prediction)
        entries = box_entries(*found.numpy(), image_id=self._images, classes=self.classes)
        for entry, label in zip(entries, found.labels.tolist(), strict=True):
            self._entries.append({**entry, "file": printable(stem), "category": self.classes.name_of(label)})
        return []

    def finish(self) -> list[Path]:
        """Writes the file, if any image was added."""
        if not self._images:
            return []
        return [write_whole(self.folder / "detections.json", coco_results_json(self._entries).encode())]


class YoloWriter(Writer):
    """`<stem>.txt`: class cx cy width height score, fractions of the image; empty when nothing was found."""

    suffix: ClassVar[str] = ".txt"
    takes: ClassVar[tuple[type, ...]] = (Detections,)

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes the label file of one image.

        Args:
            stem: output path below the folder without suffix (`stems_of`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: what the model answered, of a kind in `takes`.
        """
        text = yolo_text(_detections(prediction), (image.shape[0], image.shape[1]))
        return [write_whole(self.path_of(stem), text.encode())]


def coco_results_json(entries: Iterable[dict[str, Any]]) -> str:
    """Entries of all images as the text of a results file, an entry a line."""
    return "[" + ",\n".join(json.dumps(entry) for entry in entries) + "]\n"


def yolo_text(detections: Detections, size: tuple[int, int], scores: bool = True) -> str:
    """The label file of one image: `class cx cy width height score`, fractions of the image; "" without detections.

    Args:
        detections: detections of one image, in its pixels.
        size: (height, width) of the image in pixels.
        scores: whether the last column is written; without it the file is a training label.
    """
    height, width = size
    boxes, confidences, labels = (np.asarray(field) for field in detections)
    x1, y1, x2, y2 = (boxes.astype(np.float64) / [width, height, width, height]).T
    columns = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1] + ([confidences.astype(np.float64)] if scores else [])
    return "".join(
        f"{label} " + " ".join(f"{value:.8g}" for value in row) + "\n"
        for label, row in zip(labels.tolist(), np.stack(columns, axis=1).tolist(), strict=True)
    )


def _detections(prediction: Prediction) -> Detections:
    if not isinstance(prediction, Detections):
        raise TypeError(f"boxes are written of Detections, not of {type(prediction).__name__}")
    return prediction
