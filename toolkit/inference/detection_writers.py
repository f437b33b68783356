"""Detections as files of `predict`: COCO results, YOLO labels, CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from toolkit.data.classes.tables import Color
from toolkit.inference.detection_files import coco_results, coco_results_json, csv_rows, csv_text, yolo_text
from toolkit.inference.writer import Writer, write_whole
from toolkit.samples import Detections, Prediction


class CocoWriter(Writer):
    """`detections.json` for all images, in COCO's results format.

    A folder of images has no ids, so image_id counts from 1 in the order of the images, and each entry also names its
    `file` (output stem) and `category`. category_ids: of the labels, as the training data has them; else from 1 on.
    """

    suffix: ClassVar[str] = ".json"
    takes: ClassVar[tuple[type, ...]] = (Detections,)

    def __init__(self, folder: Path, classes: Sequence[str], palette: Sequence[Color] = ()) -> None:
        super().__init__(folder, classes, palette)
        self.category_ids: tuple[int, ...] = tuple(range(1, len(classes) + 1))
        self._entries: list[dict[str, Any]] = []
        self._images = 0

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Keeps the entries of one image."""
        self._images += 1
        found = _detections(prediction)
        for entry, label in zip(
            coco_results(found, self._images, self.category_ids), found.labels.tolist(), strict=True
        ):
            self._entries.append({**entry, "file": stem, "category": self.name_of(label)})
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
        """Writes the label file of one image."""
        text = yolo_text(_detections(prediction), (image.shape[0], image.shape[1]))
        return [write_whole(self.path_of(stem), text.encode())]


class CsvWriter(Writer):
    """`detections.csv` for all images: image (output stem), class, score, x1, y1, x2, y2 in pixels."""

    suffix: ClassVar[str] = ".csv"
    takes: ClassVar[tuple[type, ...]] = (Detections,)

    def __init__(self, folder: Path, classes: Sequence[str], palette: Sequence[Color] = ()) -> None:
        super().__init__(folder, classes, palette)
        self._rows: list[list[str]] = []
        self._images = 0

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Keeps the rows of one image."""
        self._images += 1
        self._rows += csv_rows(_detections(prediction), stem, self.classes)
        return []

    def finish(self) -> list[Path]:
        """Writes the file, if any image was added."""
        if not self._images:
            return []
        return [write_whole(self.folder / "detections.csv", csv_text(self._rows).encode())]


def _detections(prediction: Prediction) -> Detections:
    if not isinstance(prediction, Detections):
        raise TypeError(f"boxes are written of Detections, not of {type(prediction).__name__}")
    return prediction
