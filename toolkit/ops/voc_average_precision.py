"""Average precision as Pascal VOC defines it, for one overlap threshold, in vectorised numpy.

Source: `VOCevaldet.m` of the VOC development kits 2007 (11 points) and 2010-2012 (area under the curve).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from toolkit.ops.average_precision import DetectionTable, TruthTable
from toolkit.ops.box_pairs import overlapping_pairs

VocStyle = Literal["area", "11_points"]


class VocCurve(NamedTuple):
    """One class. precision, recall: (D,) after each detection, best first. ap: None without a true box.

    truths: number of boxes that count.
    """

    precision: np.ndarray
    recall: np.ndarray
    ap: float | None
    truths: int


def voc_curve(
    truths: TruthTable,
    detections: DetectionTable,
    label: int,
    style: VocStyle,
    iou: float = 0.5,
    plus_one: bool = False,
) -> VocCurve:
    """The curve of one class.

    Every detection is assigned to the truth of its image that it overlaps most (the first of equals). An overlap of
    at least `iou` makes it true if it is the first, by falling score, that is assigned to this truth, and false if
    not. Where that truth is ignored, the detection does not count. plus_one: widths and heights are one
    larger, as for inclusive corners. Equal scores keep the order of images and detections.
    """
    own = np.flatnonzero(truths.labels == label)
    own = own[np.argsort(truths.images[own], kind="stable")]
    found = np.flatnonzero(detections.labels == label)
    found = found[np.lexsort((-detections.scores[found], detections.images[found]))]
    grow = np.array([0, 0, 1, 1]) * float(plus_one)
    boxes, images = detections.xywh[found] + grow, detections.images[found]
    ordinary = np.zeros(len(own), bool)  # VOC has no crowds: an ignored box overlaps as any other
    pairs = overlapping_pairs(boxes, images, truths.xywh[own] + grow, truths.images[own], ordinary, iou)

    order = np.lexsort((-pairs.truths, pairs.ious, pairs.detections))
    best = order[np.flatnonzero(np.diff(pairs.detections[order], append=-1))]  # the last of each detection
    assigned = np.full(len(found), -1)
    assigned[pairs.detections[best]] = pairs.truths[best]

    by_score = np.argsort(-detections.scores[found], kind="stable")
    assigned = assigned[by_score]
    ignored = truths.ignored[own]
    hit = assigned >= 0
    spared = hit & ignored[assigned] if len(own) else hit
    _, first = np.unique(assigned, return_index=True)
    right = np.zeros(len(found), bool)
    right[first] = True
    right &= hit & ~spared

    number = int((~ignored).sum())
    true, false = np.cumsum(right), np.cumsum(~right & ~spared)
    precision = true / np.maximum(true + false, 1)
    recall = true / max(number, 1)
    ap = _average(precision, recall, style) if number else None
    return VocCurve(precision, recall, ap, number)


def _average(precision: np.ndarray, recall: np.ndarray, style: VocStyle) -> float:
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if style == "area":
        steps = np.diff(recall, prepend=0.0)
        return float((steps * envelope).sum())
    # MATLAB's 0:0.1:1 counts from both ends, so 0.3 is 3/10 and not 3 * 0.1.
    points = np.arange(11) / 10
    place = np.searchsorted(recall, points, "left")
    return float(np.append(envelope, 0.0)[place].sum() / 11)
