"""The boxes of one image after another, out of the flat arrays of a record, and which detection finds which true box."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from toolkit.ops.box_pairs import ious_of_pairs


class ImageBoxes(NamedTuple):
    """One image's detections, best first, and true boxes.

    Args:
        detections: (D,) int64 rows of its detections in the flat arrays, by falling score, equal scores in their order.
        labels: (D,) int64 class of each detection, 0..K-1.
        scores: (D,) float64 score of each detection, 0..1.
        truths: (G,) int64 rows of its true boxes in the flat arrays, without crowds and difficult ones.
        truth_labels: (G,) int64 class of each of those, 0..K-1.
        ious: (D, G) float64 overlap of each detection with each of those, 0..1.
        spared: (D,) bool: in a crowd or on a difficult box of its own class, by more than `overlap`.
        same: (D, G) bool: whether detection and true box are of one class.
    """

    detections: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    truths: np.ndarray
    truth_labels: np.ndarray
    ious: np.ndarray
    spared: np.ndarray
    same: np.ndarray


def image_boxes(arrays: Mapping[str, np.ndarray], overlap: float, limit: int = 100) -> Iterator[ImageBoxes]:
    """The boxes of each image in turn.

    Args:
        arrays: flat arrays of all images, as `evaluators/detection_record.py` names them.
        overlap: how much of a detection, 0..1, lies in a crowd region, or overlaps a difficult box, when it is spared.
        limit: the most detections of an image, of all classes together, that are looked at, best first.
    """
    truth_ends, ends = np.cumsum(arrays["truth_counts"]), np.cumsum(arrays["detection_counts"])
    for number, (truth_end, end) in enumerate(zip(truth_ends.tolist(), ends.tolist(), strict=True)):
        truths = np.arange(truth_end - int(arrays["truth_counts"][number]), truth_end)
        rows = np.arange(end - int(arrays["detection_counts"][number]), end)
        rows = rows[np.argsort(-arrays["detection_scores"][rows], kind="stable")][:limit]
        yield _one_image(arrays, rows, truths, overlap)


def _one_image(arrays: Mapping[str, np.ndarray], rows: np.ndarray, truths: np.ndarray, overlap: float) -> ImageBoxes:
    labels = arrays["detection_labels"][rows]
    boxes, true_boxes = _xywh(arrays["detection_boxes"][rows]), _xywh(arrays["truth_boxes"][truths])
    crowd = arrays["truth_crowd"][truths]
    left_out = crowd | arrays["truth_difficult"][truths]
    ious = _ious(boxes, true_boxes, crowd)
    same = labels[:, None] == arrays["truth_labels"][truths]
    spared = ((ious > overlap) & same)[:, left_out].any(1)
    kept = ~left_out
    return ImageBoxes(
        rows,
        labels,
        arrays["detection_scores"][rows],
        truths[kept],
        arrays["truth_labels"][truths[kept]],
        ious[:, kept],
        spared,
        same[:, kept],
    )


def matched(ious: np.ndarray, allowed: np.ndarray, overlap: float) -> np.ndarray:
    """The true box that each detection finds: (D,) int64, -1 for none. Each is found once, by the best-scored.

    Of the true boxes that are left a detection takes the one it overlaps most, of equals the first.

    Args:
        ious: (D, G) overlaps, detections by falling score.
        allowed: (D, G) bool: pairs that may match, those of one class.
        overlap: the smallest overlap, 0..1, with which a detection finds a true box.

    >>> matched(np.array([[0.6, 0.9], [0.7, 0.8]]), np.ones((2, 2), bool), 0.5).tolist()
    [1, 0]
    """
    free = np.where(allowed & (ious >= overlap), ious, -1.0)
    found = np.full(len(ious), -1, np.int64)
    for row in np.flatnonzero((free >= 0).any(1)).tolist():
        best = int(free[row].argmax())
        if free[row, best] >= 0:
            found[row] = best
            free[:, best] = -1.0
    return found


def _ious(boxes: np.ndarray, others: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """(D, G) overlaps of xywh boxes, with a crowd region by the detection's own area."""
    rows, columns = (axis.ravel() for axis in np.indices((len(boxes), len(others))))
    return ious_of_pairs(boxes[rows], others[columns], crowd[columns]).reshape(len(boxes), len(others))


def _xywh(xyxy: np.ndarray) -> np.ndarray:
    return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)
