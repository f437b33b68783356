"""How well the boundaries of classes agree in two label maps: what boundary F and boundary IoU count, for one image.

Pixels whose truth is `IGNORE_INDEX` count nowhere, and no boundary runs along them: nobody knows what they show. The
same holds for the image's edge in boundary F; boundary IoU's bands, as published, run along it.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from toolkit.samples import IGNORE_INDEX

TOLERANCE = 0.0075
"""How far apart boundaries may lie, as a share of the image's diagonal: Badrinarayanan et al. 2017, section 4.1."""
BAND = 0.02
"""Width of a band along a boundary, as a share of the diagonal: Cheng et al. 2021, section 4."""


def edge_counts(
    truth: np.ndarray, prediction: np.ndarray, num_classes: int, tolerance: float = TOLERANCE
) -> np.ndarray:
    """Boundary pixels of each class, and how many lie near the other map's: (K, 5) int64.

    Columns: true pixels of the class; true boundary pixels, those of them near a predicted one; predicted boundary
    pixels, those of them near a true one. A pixel is on the boundary when one of its four neighbours is of another
    class; near is a Euclidean distance below `tolerance` diagonals (Csurka, Larlus and Perronnin 2013, "What is a good
    evaluation measure for semantic segmentation?", section 3.2).

    Args:
        truth: (H, W) uint8 annotated classes, `IGNORE_INDEX` where nothing counts.
        prediction: (H, W) uint8 predicted classes, 255 where none is predicted.
        num_classes: K, the number of classes, which are 0..K-1.
        tolerance: distance from which boundaries no longer agree, as a share of the image's diagonal.

    >>> truth = np.repeat(np.array([[0, 0, 0, 1, 1, 1]], np.uint8), 6, axis=0)  # an upright boundary
    >>> edge_counts(truth, np.roll(truth, 1, axis=1), 2, tolerance=0.01)[1].tolist()  # a pixel away: not near
    [18, 6, 0, 12, 0]
    """
    counted = truth != IGNORE_INDEX
    limit = tolerance * math.hypot(*truth.shape)
    result = np.zeros((num_classes, 5), np.int64)
    edges = [(labels, _edges(labels, counted)) for labels in (truth, prediction)]
    for label in range(num_classes):
        result[label, 0] = np.count_nonzero(truth == label)
        places = [np.argwhere(on_edge & (labels == label)) for labels, on_edge in edges]
        for column, (own, other) in ((1, places), (3, places[::-1])):
            result[label, column] = len(own)
            result[label, column + 1] = _near(own, other, limit)
    return result


def _edges(labels: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Counted pixels with a counted neighbour of another class, (H, W) bool."""
    edges = np.zeros(labels.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (labels[one] != labels[other]) & counted[one] & counted[other]
        edges[one] |= differ
        edges[other] |= differ
    return edges


def _near(own: np.ndarray, other: np.ndarray, limit: float) -> int:
    """How many of the places (N, 2) are closer than `limit` to one of the other places."""
    if not len(own) or not len(other):
        return 0
    corner = np.minimum(own.min(0), other.min(0))
    far = np.ones(np.maximum(own.max(0), other.max(0)) - corner + 1, np.uint8)
    far[tuple((other - corner).T)] = 0
    distance = cv2.distanceTransform(far, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return int(np.count_nonzero(distance[tuple((own - corner).T)] < limit))


def band_counts(truth: np.ndarray, prediction: np.ndarray, num_classes: int, width: float = BAND) -> np.ndarray:
    """Pixels of each class in both bands along its boundaries, and in either: (K, 2) int64; their quotient is boundary IoU.

    A band holds the pixels of a class with a pixel of another class, or none, at most d rows and d columns away, d being
    `width` diagonals, rounded, at least 1 (Cheng et al. 2021, "Boundary IoU", and its official `boundary_utils.py`).

    Args:
        truth: (H, W) uint8 annotated classes, `IGNORE_INDEX` where nothing counts.
        prediction: (H, W) uint8 predicted classes, 255 where none is predicted.
        num_classes: K, the number of classes, which are 0..K-1.
        width: how wide a band is, as a share of the image's diagonal.

    >>> truth = np.zeros((30, 30), np.uint8)
    >>> truth[10:20, 10:20] = 1
    >>> band_counts(truth, np.where(truth, truth.T, 0).astype(np.uint8), 2)[1].tolist()  # one pixel wide: 4 * 10 - 4
    [36, 36]
    """
    reach = max(1, round(width * math.hypot(*truth.shape)))
    ignored = truth == IGNORE_INDEX
    in_band = []
    for labels in (truth, prediction):
        band = _band(labels, ignored, reach)
        in_band.append(np.where(band, labels, IGNORE_INDEX))
    both = in_band[0][in_band[0] == in_band[1]]
    own = [np.bincount(labels.reshape(-1), minlength=256)[:num_classes] for labels in (*in_band, both)]
    return np.stack([own[2], own[0] + own[1] - own[2]], axis=1)


def _band(labels: np.ndarray, ignored: np.ndarray, reach: int) -> np.ndarray:
    """Pixels that count and have another class, or the image's edge, within `reach` rows and columns, (H, W) bool."""
    box = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    raised = labels.astype(np.uint16) + 1
    lowest = cv2.erode(np.where(ignored, np.uint16(257), raised), box)
    highest = cv2.dilate(np.where(ignored, np.uint16(0), raised), box)
    band = lowest != highest
    for edge in (np.s_[:reach], np.s_[-reach:], np.s_[:, :reach], np.s_[:, -reach:]):
        band[edge] = True
    return band & ~ignored
