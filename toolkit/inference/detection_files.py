"""Detections as the text of files: COCO results, YOLO labels, CSV. Pure functions; who calls them writes.

Boxes are xyxy pixels of the original image, as in `Detections`. Ids are the data set's own again:
`category_ids[label]` and the image's id.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from toolkit.samples import Detections

CSV_HEADER = ("image", "class", "score", "x1", "y1", "x2", "y2")


def coco_results(detections: Detections, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """The entries of one image in COCO's results format: image_id, category_id, bbox (x, y, width, height), score.

    Format: https://cocodataset.org/#format-results. Numbers have all digits of float32, so that scoring the file
    gives what scoring the detections gives.
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

    size: (height, width) of the image. scores: False leaves the last column out, which makes it a training label.
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
    """The rows of one image under `CSV_HEADER`; corners with two decimals, scores with six."""
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
