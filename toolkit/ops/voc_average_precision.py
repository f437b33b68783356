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
    """Precision and recall of one class, detection after detection.

    Args:
        precision: (D,) precision after each detection, best first, 0..1.
        recall: (D,) recall after each detection, best first, 0..1.
        ap: average precision, 0..1, or None without a true box.
        truths: number of annotated boxes that count.
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
    """The precision-recall curve of one class by the rules of Pascal VOC.

    Every detection is assigned to the truth of its image that it overlaps most (the first of equals). An overlap of
    at least `iou` makes it true if it is the first, by falling score, that is assigned to this truth, and false if
    not. Where that truth is ignored, the detection does not count. Equal scores keep the order of images and detections.

    Args:
        truths: every annotated box of the data set, of all classes.
        detections: every detection on the data set, of all classes.
        label: the class whose curve is wanted, 0..K-1.
        style: "area" under the whole curve (2010-2012) or the mean of 11 points (2007).
        iou: overlap, 0..1, from which a detection may be true.
        plus_one: whether widths and heights are one larger, as for inclusive corners.

    >>> truths = TruthTable(*np.zeros((2, 2), np.int64), np.array([[0.0, 0, 10, 10], [20, 0, 10, 10]]),
    ...                     *np.zeros((3, 2), bool), np.array([100.0, 100.0]))
    >>> found = DetectionTable(*np.zeros((2, 1), np.int64), np.array([[0.0, 0, 10, 10]]), np.array([0.9]))
    >>> voc_curve(truths, found, 0, "area").ap, round(voc_curve(truths, found, 0, "11_points").ap, 4)
    (0.5, 0.5455)
    """
    found = voc_matches(truths, detections, label, iou, plus_one)
    number = int(found.truth_counts.sum())
    true, false = np.cumsum(found.right), np.cumsum(found.counts & ~found.right)
    precision = true / np.maximum(true + false, 1)
    recall = true / max(number, 1)
    ap = _average(precision, recall, style) if number else None
    return VocCurve(precision, recall, ap, number)


class VocMatches(NamedTuple):
    """The D detections of one class, best first, what became of them, and its G truths.

    Args:
        images: (D,) int64 image of each detection, as in the tables.
        scores: (D,) float64 score of each detection, falling.
        right: (D,) bool: the first to be assigned to a truth that counts.
        counts: (D,) bool: not assigned to an ignored truth.
        truth_images: (G,) int64 image of each truth.
        truth_counts: (G,) bool: whether the truth counts.
    """

    images: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    counts: np.ndarray
    truth_images: np.ndarray
    truth_counts: np.ndarray


def voc_matches(
    truths: TruthTable, detections: DetectionTable, label: int, iou: float = 0.5, plus_one: bool = False
) -> VocMatches:
    """What became of the detections of one class, as `voc_curve` says.

    Args:
        truths: every annotated box of the data set, of all classes.
        detections: every detection on the data set, of all classes.
        label: the class that is wanted, 0..K-1.
        iou: overlap, 0..1, from which a detection may be true.
        plus_one: whether widths and heights are one larger, as for inclusive corners.
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
    scores = detections.scores[found][by_score]
    return VocMatches(images[by_score], scores, right & hit & ~spared, ~spared, truths.images[own], ~ignored)


def _average(precision: np.ndarray, recall: np.ndarray, style: VocStyle) -> float:
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if style == "area":
        steps = np.diff(recall, prepend=0.0)
        return float((steps * envelope).sum())
    # MATLAB's 0:0.1:1 counts from both ends, so 0.3 is 3/10 and not 3 * 0.1.
    points = np.arange(11) / 10
    place = np.searchsorted(recall, points, "left")
    return float(np.append(envelope, 0.0)[place].sum() / 11)
