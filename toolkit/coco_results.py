"""Predictions as entries of COCO's results format: https://cocodataset.org/#format-results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from toolkit.labels import IGNORE_INDEX, ClassTable


def box_entries(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, image_id: int | str, classes: ClassTable
) -> list[dict[str, Any]]:
    """One entry a box: image_id, category_id, bbox (x, y, width, height), score.

    Numbers have all digits of float32, so that scoring the file gives what scoring the boxes gives.

    Args:
        boxes: (N, 4) xyxy pixels of the original image, x2 and y2 exclusive.
        scores: (N,) probabilities 0..1, one for each box.
        labels: (N,) class numbers 0..K-1, one for each box.
        image_id: of the image in the annotation file the entries are for.
        classes: whose `ids` are the category ids; without ids they count from 1.
    """
    corners = boxes.astype(np.float64)
    xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
    return [
        {"image_id": image_id, "category_id": classes.id_of(label), "bbox": box, "score": score}
        for box, score, label in zip(xywh, scores.astype(np.float64).tolist(), labels.tolist(), strict=True)
    ]


def mask_entries(
    labels: np.ndarray, scores: np.ndarray | None, image_id: int | str, classes: ClassTable
) -> list[dict[str, Any]]:
    """One entry a class that is present: image_id, category_id, segmentation (run lengths), bbox, score.

    Pixels labelled `IGNORE_INDEX` belong to no entry. The score is the mean of the class's pixels, or 1 without scores.

    Args:
        labels: (H, W) uint8 class numbers of the original image's pixels.
        scores: (H, W) probabilities 0..1 of each pixel's class, or None.
        image_id: of the image in the annotation file the entries are for.
        classes: whose `ids` are the category ids; without ids they count from 1.
    """
    return [
        {
            "image_id": image_id,
            "category_id": classes.id_of(label),
            "segmentation": _run_lengths(mask),
            "bbox": _extent(mask),
            "score": 1.0 if scores is None else float(scores[mask].mean(dtype=np.float64)),
        }
        for label, mask in _masks(labels)
    ]


def _masks(labels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    present: Sequence[int] = np.unique(labels).tolist()
    yield from ((label, labels == label) for label in present if label != IGNORE_INDEX)


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run lengths, column by column, as JSON can hold them."""
    from pycocotools import mask as codec  # only here: whoever reads pictures does not wait for it

    encoded: dict[str, Any] = codec.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")}


def _extent(mask: np.ndarray) -> list[float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = float(rows[0]), float(columns[0])
    return [left, top, float(columns[-1]) + 1 - left, float(rows[-1]) + 1 - top]
