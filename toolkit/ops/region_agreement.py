"""How well a division of an image into regions agrees with the true one: Rand pairs and information, foreground-restricted.

Of the ISBI 2012 challenge on electron microscopy: Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image
segmentation algorithms for connectomics", doi:10.3389/fnana.2015.00142; official code: Fiji's Trainable Segmentation,
`RandError.java` and `VariationOfInformation.java`. Only pixels that lie in a true region count. Predicted regions are
grown first until borders are lines; what still is border in the prediction counts as regions of one pixel each.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np


class Overlaps(NamedTuple):
    """Pixels that true and predicted regions share, as far as they lie in a true region.

    Args:
        shared: (P,) float64 pixels of each pair of a true and a predicted region that meet.
        true: (T,) float64 pixels of each true region.
        predicted: (S,) float64 pixels of each predicted region, as far as they lie in true ones.
        single: how many pixels lie in a true and in no predicted region: regions of their own.
    """

    shared: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    single: int


def regions(inside: np.ndarray) -> np.ndarray:
    """Connected regions of a mask (H, W) bool, across sides and not across corners: (H, W) int32, from 1 on; 0 outside.

    >>> regions(np.array([[1, 0, 1], [0, 1, 1]], bool)).tolist()
    [[1, 0, 2], [0, 2, 2]]
    """
    return cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)[1]


def thinned_regions(inside: np.ndarray) -> np.ndarray:
    """The regions of a mask (H, W) bool, grown over the border until they meet in lines one pixel wide, which are 0.

    Each border pixel goes to the region nearest to it, as a flood from all regions at once would have it.

    >>> thinned_regions(np.array([[1, 0, 0, 0, 0, 1]], bool)).tolist()
    [[1, 1, 0, 2, 2, 2]]
    """
    labels = regions(inside)
    if not inside.any():
        return labels
    border = ~inside
    _, nearest = cv2.distanceTransformWithLabels(
        border.astype(np.uint8), cv2.DIST_L1, cv2.DIST_MASK_3, labelType=cv2.DIST_LABEL_PIXEL
    )
    region_of = np.zeros(int(nearest.max()) + 1, np.int32)
    region_of[nearest[inside]] = labels[inside]
    grown = region_of[nearest]
    line = np.zeros(inside.shape, bool)
    for one, other in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        meet = grown[one] != grown[other]
        line[one] |= meet & border[one]
        line[other] |= meet & ~border[one]
    return np.where(line, 0, grown)


def overlaps(true: np.ndarray, predicted: np.ndarray) -> Overlaps:
    """What regions (H, W) of truth and prediction share; 0 is outside of all.

    >>> found = overlaps(np.array([[1, 1, 1, 2, 0]]), np.array([[1, 1, 2, 2, 2]]))
    >>> found.shared.tolist(), found.true.tolist(), found.predicted.tolist(), found.single
    ([2.0, 1.0, 1.0], [3.0, 1.0], [2.0, 2.0], 0)
    """
    counted = true > 0
    one, other = true[counted].astype(np.int64), predicted[counted].astype(np.int64)
    pairs, shared = np.unique(one * (int(other.max(initial=0)) + 1) + other, return_counts=True)
    in_region = pairs % (int(other.max(initial=0)) + 1) > 0
    sizes = [pixels[pixels > 0].astype(np.float64) for pixels in (np.bincount(labels)[1:] for labels in (one, other))]
    return Overlaps(shared[in_region].astype(np.float64), sizes[0], sizes[1], int((other == 0).sum()))


def rand_pairs(found: Overlaps) -> tuple[float, float, float]:
    """Ordered pairs of pixels in one region in both divisions, in the prediction, and in the truth.

    A pixel is a pair with itself (sums of squares, "N^2" in the official code). V_rand is the first over the mean of the
    other two; over the second it says how little is merged, over the third how little is split.

    >>> rand_pairs(Overlaps(np.array([2.0, 1, 1]), np.array([3.0, 1]), np.array([2.0, 2]), 0))
    (6.0, 8.0, 10.0)
    """
    squares = [float((sizes**2).sum()) for sizes in found[:3]]
    return squares[0] + found.single, squares[2] + found.single, squares[1]


def information_score(found: Overlaps) -> float:
    """V_info: the mutual information of the two divisions over the mean of their entropies, 0..1; NaN without a true region.

    1 where both are one region, which have no entropy; 0 where only one of them is.
    """
    total = found.true.sum()
    if not total:
        return float("nan")
    single = found.single / total * np.log(total)
    shared, true, predicted = (float(-(p * np.log(p)).sum()) for p in (sizes / total for sizes in found[:3]))
    shared, predicted = shared + single, predicted + single
    if true <= 0 or predicted <= 0:
        return float(true <= 0 and predicted <= 0)
    return max(0.0, 2 * (true + predicted - shared) / (true + predicted))
