"""What kind of mistake each wrong pixel of a label map is: a border beside its place, a region missed or invented, a mix-up.

Every wrong pixel is of exactly one kind, so that the kinds add up to all errors. What is decided is decided of regions
(connected pixels of one class) before pixels: a pole three pixels wide that nobody found is missed, although each of
its pixels is near the class that was answered there.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from toolkit.samples import IGNORE_INDEX

ERROR_KINDS = ("boundary", "confusion", "missed", "false")
"""Names of the kinds 1 to 4 of `error_kinds`; a pixel of kind 0 is right."""
NOT_COUNTED = 255
"""What `error_kinds` holds where the truth does not count."""

BORDER_SHARE = 0.0075
"""Share of an image's diagonal that a border may be off: the tolerance of the BF score (Csurka et al. 2013, section 3.2),
4.5 pixels at 360x480."""
FOUND_SHARE = 0.1
"""A region of which a smaller share is met by the other map counts as not met at all."""

_BOUNDARY, _CONFUSION, _MISSED, _FALSE = range(1, 5)


def border_distance(size: tuple[int, int], share: float = BORDER_SHARE) -> float:
    """Pixels that a border may be off in an image of (height, width): a share of the diagonal, 1 at least.

    >>> border_distance((360, 480))
    4.5
    """
    return max(1.0, share * float(np.hypot(*size)))


def error_kinds(truth: np.ndarray, prediction: np.ndarray, distance: float) -> np.ndarray:
    """The kind of each pixel's error: (H, W) uint8, 0 right, 1 + place in `ERROR_KINDS`, 255 where the truth is ignored.

    In this order, with "near" meaning at most `distance` pixels away, from centre to centre:

    * missed: in a connected region of the true class of which less than a tenth is near an answer of that class;
    * false: in a connected region of the answered class of which less than a tenth is near a true pixel of that class.
      What is both (a bus called a car) is confusion, not two errors;
    * boundary: a true pixel of the answered class is near, so a border that runs a little further makes it right;
    * confusion: all the rest, among it pixels that were given no class outside missed regions.

    No class is a background here: in an image whose classes fill it, a missed pole is one that was answered as what
    stands behind it, whose own region is met elsewhere and therefore is not false. Regions are joined over corners;
    pixels that do not count are in no share. Raises ValueError when the sizes differ.

    Args:
        truth: (H, W) uint8 annotated classes, `IGNORE_INDEX` where nothing counts.
        prediction: (H, W) uint8 predicted classes, `IGNORE_INDEX` for no class.
        distance: how far, in pixels, a border may be off (`border_distance`).

    >>> truth = np.zeros((8, 12), np.uint8)
    >>> truth[2:4, 2:4], truth[:, 8:] = 1, 2
    >>> answer = np.zeros((8, 12), np.uint8)
    >>> answer[:, 9:] = 2  # the border of class 2 is a pixel off, and the square of class 1 is missed
    >>> error_kinds(truth, answer, 1.0)[3]
    array([0, 0, 3, 3, 0, 0, 0, 0, 1, 0, 0, 0], dtype=uint8)
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth and prediction differ in size: {truth.shape} and {prediction.shape}")
    counted = truth != IGNORE_INDEX
    wrong = counted & (truth != prediction)
    kinds = np.where(counted, wrong.astype(np.uint8) * _CONFUSION, NOT_COUNTED)
    if not wrong.any():
        return kinds
    disc = _disc(distance)
    missed, false, near_border = (np.zeros(truth.shape, bool) for _ in range(3))
    for label in np.unique(truth[wrong]).tolist():
        box = _box(truth == label, disc)
        missed[box] |= _regions(truth[box], prediction[box], label, counted[box], disc).unmet
    for label in np.unique(prediction[wrong & (prediction != IGNORE_INDEX)]).tolist():
        box = _box(prediction == label, disc)
        regions = _regions(prediction[box], truth[box], label, counted[box], disc)
        false[box] |= regions.unmet
        near_border[box] |= regions.near
    kinds[wrong & near_border] = _BOUNDARY
    kinds[wrong & missed] = _MISSED
    kinds[wrong & false] = _FALSE
    kinds[wrong & missed & false] = _CONFUSION
    return kinds


def count_error_pixels(truth: np.ndarray, prediction: np.ndarray, kinds: np.ndarray, num_classes: int) -> np.ndarray:
    """Wrong pixels by kind and class: (4, K, 2) int64, the class' own pixels that were lost, and those it got wrongly.

    Over the four kinds both add up to the class' false negatives and false positives of the confusion matrix.

    Args:
        truth: (H, W) uint8 annotated classes, `IGNORE_INDEX` where nothing counts.
        prediction: (H, W) uint8 predicted classes, `IGNORE_INDEX` for no class.
        kinds: (H, W) uint8 of the same pixels, from `error_kinds`.
        num_classes: K, the number of classes, which are 0..K-1.
    """
    wrong = (kinds > 0) & (kinds != NOT_COUNTED)
    kind, lost, given = kinds[wrong].astype(np.int64) - 1, truth[wrong], prediction[wrong]
    counts = [
        np.bincount(kind * (IGNORE_INDEX + 1) + labels, minlength=len(ERROR_KINDS) * (IGNORE_INDEX + 1))
        for labels in (lost, given)
    ]
    return np.stack(counts, -1).reshape(len(ERROR_KINDS), IGNORE_INDEX + 1, 2)[:, :num_classes]


class _Regions(NamedTuple):
    """Pixels of one class in one map, (h, w) bool each: in regions that the other map does not meet; near it there."""

    unmet: np.ndarray
    near: np.ndarray


def _regions(own: np.ndarray, other: np.ndarray, label: int, counted: np.ndarray, disc: np.ndarray) -> _Regions:
    """How the regions of a class in one map are met by the other map."""
    mask, met = own == label, other == label
    if not met.any():
        return _Regions(mask, np.zeros(mask.shape, bool))
    near = mask & cv2.dilate(met.astype(np.uint8), disc).astype(bool)
    number, regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    pixels = np.bincount(regions[mask & counted], minlength=number)
    pixels_near = np.bincount(regions[near & counted], minlength=number)
    unmet = pixels_near < FOUND_SHARE * pixels
    unmet[0] = False  # what is not the class
    return _Regions(unmet[regions] if unmet.any() else unmet[0] & mask, near)


def _box(mask: np.ndarray, disc: np.ndarray) -> tuple[slice, slice]:
    """Where a mask is, and as much around it as the disc reaches."""
    reach = disc.shape[0] // 2
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return (
        slice(max(0, top - reach), top + height + reach),
        slice(max(0, left - reach), left + width + reach),
    )


def _disc(distance: float) -> np.ndarray:
    """The pixels at most `distance` from the centre, as a kernel of odd sides."""
    reach = np.arange(-int(distance), int(distance) + 1)
    return (reach[:, None] ** 2 + reach**2 <= distance**2).astype(np.uint8)
