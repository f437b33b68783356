"""Detections as files of `predict`: COCO results, YOLO labels, CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from toolkit.inference.writers.base import Writer, write_whole
from toolkit.labels import Color
from toolkit.samples import Detections, Prediction


class CocoWriter(Writer):
    """`detections.json` for all images, in COCO's results format.

    A folder of images has no ids, so image_id counts from 1 in the order of the images, and each entry also names its
    `file` (output stem) and `category`. category_ids: of the labels, as the training data has them; else from 1 on.

    Args:
        folder: folder that the file goes to.
        classes: names of the labels 0..K-1.
        palette: colours of the classes, which this format does not use.
    """

    suffix: ClassVar[str] = ".json"
    takes: ClassVar[tuple[type, ...]] = (Detections,)

    def __init__(self, folder: Path, classes: Sequence[str], palette: Sequence[Color] = ()) -> None:
        super().__init__(folder, classes, palette)
        self.category_ids: tuple[int, ...] = tuple(range(1, len(classes) + 1))
        self._entries: list[dict[str, Any]] = []
        self._images = 0

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Keeps the entries of one image.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: detections in the picture's pixels.
        """
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
        """Writes the label file of one image.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: detections in the picture's pixels.
        """
        text = yolo_text(_detections(prediction), (image.shape[0], image.shape[1]))
        return [write_whole(self.path_of(stem), text.encode())]


class CsvWriter(Writer):
    """`detections.csv` for all images: image (output stem), class, score, x1, y1, x2, y2 in pixels.

    Args:
        folder: folder that the file goes to.
        classes: names of the labels 0..K-1.
        palette: colours of the classes, which this format does not use.
    """

    suffix: ClassVar[str] = ".csv"
    takes: ClassVar[tuple[type, ...]] = (Detections,)

    def __init__(self, folder: Path, classes: Sequence[str], palette: Sequence[Color] = ()) -> None:
        super().__init__(folder, classes, palette)
        self._rows: list[list[str]] = []
        self._images = 0

    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Keeps the rows of one image.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 picture as it was read.
            prediction: detections in the picture's pixels.
        """
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


CSV_HEADER = ("image", "class", "score", "x1", "y1", "x2", "y2")


def coco_results(detections: Detections, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """The entries of one image in COCO's results format: image_id, category_id, bbox (x, y, width, height), score.

    Format: https://cocodataset.org/#format-results. Numbers have all digits of float32, so that scoring the file
    gives what scoring the detections gives.

    Args:
        detections: detections of one image, in its pixels.
        image_id: id of the image in the annotation file.
        category_ids: id of each label's category, label 0 first.
    """
    boxes, scores, labels = (np.asarray(field) for field in detections)
    corners = boxes.astype(np.float64)
    xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
    return [
        {"image_id": int(image_id), "category_id": int(category_ids[label]), "bbox": box, "score": score}
        for box, score, label in zip(xywh, scores.astype(np.float64).tolist(), labels.tolist(), strict=True)
    ]


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


def csv_rows(detections: Detections, name: str, classes: Sequence[str]) -> list[list[str]]:
    """The rows of one image under `CSV_HEADER`; corners with two decimals, scores with six.

    Args:
        detections: detections of one image, in its pixels.
        name: name of the image, in the first column.
        classes: names of the labels 0..K-1.
    """
    boxes, scores, labels = (np.asarray(field).tolist() for field in detections)
    return [
        [name, classes[label], f"{score:.6f}", *(f"{corner:.2f}" for corner in box)]
        for box, score, label in zip(boxes, scores, labels, strict=True)
    ]


def csv_text(rows: Iterable[Sequence[str]], header: Sequence[str] = CSV_HEADER) -> str:
    """A whole CSV file; names with commas or quotes are quoted (RFC 4180), lines end with a line feed."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
