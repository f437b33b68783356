"""How well anchors can cover boxes: for each box the overlap of its best anchor, found without laying out a grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.contracts import AnchorLayout
from toolkit.ops.anchors import base_anchors
from toolkit.preflight.passage import SeenBoxes


def best_overlaps(boxes: SeenBoxes, layout: AnchorLayout) -> np.ndarray:
    """(M,) the largest overlap (intersection over union) of each box with any anchor of its image, 0..1.

    Exact for maps of ceil(side / stride) cells: for an anchor of a given size the best place is the cell nearest to the
    box, in each direction by itself.
    """
    best = np.zeros(len(boxes.labels))
    for stride in layout.strides:
        for box in _base(stride, layout):
            best = np.maximum(best, _overlap(boxes, box, stride, layout.inside_only))
    return best


def _base(stride: int, layout: AnchorLayout) -> np.ndarray:
    """The anchors of cell 0, (A, 4) xyxy, x2 and y2 exclusive."""
    base = base_anchors(stride, layout.scales, layout.ratios, layout.style).double().numpy()
    return base + np.array([0, 0, 1, 1]) if layout.style == "caffe" else base


def _overlap(boxes: SeenBoxes, anchor: np.ndarray, stride: int, inside_only: bool) -> np.ndarray:
    intersection, possible = np.ones(len(boxes.labels)), np.ones(len(boxes.labels), bool)
    for axis in (0, 1):
        low, high = boxes.xyxy[:, axis], boxes.xyxy[:, axis + 2]
        side, cells = anchor[axis + 2] - anchor[axis], np.ceil(boxes.sizes[:, 1 - axis] / stride)
        first, last = np.zeros_like(cells), cells - 1
        if inside_only:
            first = np.maximum(first, np.ceil(-anchor[axis] / stride))
            last = np.minimum(last, np.floor((boxes.sizes[:, 1 - axis] - anchor[axis + 2]) / stride))
        possible &= first <= last
        wanted = ((low + high - side) / 2 - anchor[axis]) / stride
        start = anchor[axis] + stride * np.clip(np.rint(wanted), first, np.maximum(first, last))
        intersection *= np.clip(np.minimum(high, start + side) - np.maximum(low, start), 0, None)
    areas = np.prod(boxes.xyxy[:, 2:] - boxes.xyxy[:, :2], axis=1)
    area = (anchor[2] - anchor[0]) * (anchor[3] - anchor[1])
    return np.where(possible, intersection / np.maximum(areas + area - intersection, 1e-9), 0.0)


def recall(overlaps: np.ndarray, threshold: float) -> float:
    """Share of boxes whose best anchor reaches the threshold; NaN without boxes."""
    return float((overlaps >= threshold).mean()) if len(overlaps) else float("nan")


def recall_by_class(overlaps: np.ndarray, labels: np.ndarray, threshold: float, count: int) -> Sequence[float]:
    """`recall` of each class 0..count-1."""
    return [recall(overlaps[labels == label], threshold) for label in range(count)]
