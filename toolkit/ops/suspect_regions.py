"""Regions of a label map that a sure model answers otherwise: where to look for wrong labels."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from toolkit.ops.pixel_errors import ERROR_KINDS, NOT_COUNTED

_BOUNDARY = 1 + ERROR_KINDS.index("boundary")


class Suspects(NamedTuple):
    """Regions of one image, the most suspicious first.

    Args:
        boxes: (R, 4) int32 xyxy pixels, x2 and y2 exclusive.
        labels: (R,) uint8 class that is annotated.
        answers: (R,) uint8 class that the model answers.
        kinds: (R,) uint8 1 + place in `ERROR_KINDS` of most of its pixels.
        pixels: (R,) int64 size of each region in pixels.
        scores: (R,) float32 suspicion, 0..1: mean probability of the answer, less for regions as small as a border is thick.
    """

    boxes: np.ndarray
    labels: np.ndarray
    answers: np.ndarray
    kinds: np.ndarray
    pixels: np.ndarray
    scores: np.ndarray


def suspect_regions(
    truth: np.ndarray,
    prediction: np.ndarray,
    scores: np.ndarray,
    kinds: np.ndarray,
    distance: float,
    limit: int = 5,
) -> Suspects:
    """Connected pixels with one label and one other answer, apart from errors at borders, which are of a pixel's breadth.

    Args:
        truth: (H, W) uint8 annotated classes.
        prediction: (H, W) uint8 predicted classes.
        scores: (H, W) float32 probability of the predicted class, 0..1.
        kinds: (H, W) uint8 from `error_kinds`.
        distance: the one of `kinds`, in pixels; a region of a disc of that radius counts half.
        limit: the most regions that are given.

    >>> truth = np.zeros((20, 20), np.uint8)
    >>> answer = truth.copy()
    >>> answer[5:15, 5:15] = 3
    >>> found = suspect_regions(truth, answer, np.full((20, 20), 0.9, np.float32), 4 * (answer > 0).astype(np.uint8), 1.0)
    >>> found.boxes.tolist(), found.answers.tolist()
    ([[5, 5, 15, 15]], [3])
    """
    wrong = (kinds > _BOUNDARY) & (kinds != NOT_COUNTED) & (prediction != NOT_COUNTED)
    pairs = truth.astype(np.uint16) * 256 + prediction
    counts = np.bincount(pairs[wrong], minlength=1 << 16)
    found: list[Region] = []
    small = np.pi * distance**2
    # No region is larger than all pixels of its pair: once the best ones are known, smaller pairs need no look.
    for pair in np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)].tolist():
        if len(found) == limit and counts[pair] / (counts[pair] + small) < found[-1][0]:
            break
        found += _regions(wrong & (pairs == pair), scores, kinds, divmod(pair, 256), small, limit)
        found = sorted(found, key=lambda entry: (-entry[0], entry[1]))[:limit]
    return _as_arrays(found)


Region = tuple[float, list[int], int, int, int, int]
"""Suspicion, box, label, answer, kind and pixels of a region."""


def _regions(
    mask: np.ndarray, scores: np.ndarray, kinds: np.ndarray, pair: tuple[int, int], small: float, limit: int
) -> list[Region]:
    """The most suspicious connected regions of a mask (H, W) bool, of one label and answer."""
    x, y, wide, high = cv2.boundingRect(mask.view(np.uint8))
    here = (slice(y, y + high), slice(x, x + wide))
    inside, kinds = mask[here], kinds[here]
    number, regions, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
    pixels = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    sums = np.bincount(regions[inside], weights=scores[here][inside], minlength=number)
    suspicion = sums / (pixels + small)
    found = []
    for region in np.argsort(-suspicion[1:], kind="stable")[:limit] + 1:
        left, top, width, height = stats[region, :4].tolist()
        within = (slice(top, top + height), slice(left, left + width))
        kind = int(np.bincount(kinds[within][regions[within] == region]).argmax())
        box = [x + left, y + top, x + left + width, y + top + height]
        found.append((float(suspicion[region]), box, *pair, kind, int(pixels[region])))
    return found


def _as_arrays(found: list[Region]) -> Suspects:
    return Suspects(
        np.array([entry[1] for entry in found], np.int32).reshape(-1, 4),
        np.array([entry[2] for entry in found], np.uint8),
        np.array([entry[3] for entry in found], np.uint8),
        np.array([entry[4] for entry in found], np.uint8),
        np.array([entry[5] for entry in found], np.int64),
        np.array([entry[0] for entry in found], np.float32),
    )
