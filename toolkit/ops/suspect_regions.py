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
    pairs = truth[wrong].astype(np.int64) * 256 + prediction[wrong]
    found: list[tuple[float, list[int], int, int, int, int]] = []
    small = np.pi * distance**2
    for pair in np.unique(pairs).tolist():
        label, answer = divmod(pair, 256)
        mask = (wrong & (truth == label) & (prediction == answer)).astype(np.uint8)
        number, regions, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        pixels = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
        inside = mask.astype(bool)
        sums = np.bincount(regions[inside], weights=scores[inside], minlength=number)
        suspicion = sums / pixels * pixels / (pixels + small)
        for region in np.argsort(-suspicion[1:], kind="stable")[:limit] + 1:
            left, top, width, height = stats[region, :4].tolist()
            own = kinds[top : top + height, left : left + width][
                regions[top : top + height, left : left + width] == region
            ]
            kind = int(np.bincount(own).argmax())
            box = [left, top, left + width, top + height]
            found.append((float(suspicion[region]), box, label, answer, kind, int(pixels[region])))
    found.sort(key=lambda entry: (-entry[0], entry[1]))
    return _as_arrays(found[:limit])


def _as_arrays(found: list[tuple[float, list[int], int, int, int, int]]) -> Suspects:
    return Suspects(
        np.array([entry[1] for entry in found], np.int32).reshape(-1, 4),
        np.array([entry[2] for entry in found], np.uint8),
        np.array([entry[3] for entry in found], np.uint8),
        np.array([entry[4] for entry in found], np.uint8),
        np.array([entry[5] for entry in found], np.int64),
        np.array([entry[0] for entry in found], np.float32),
    )
