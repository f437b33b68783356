"""Counting label maps: how often each label occurs, and how often truth t was predicted as p. Exact integers."""

from __future__ import annotations

import cv2
import numpy as np

from toolkit.errors import listed
from toolkit.samples import IGNORE_INDEX

_EXACT = 1 << 24
"""OpenCV's histograms are float32, which counts exactly up to 2^24; larger maps are counted in bands of rows."""


def count_labels(label_map: np.ndarray) -> np.ndarray:
    """How often each value occurs in an (H, W) uint8 map: (256,) int64.

    >>> count_labels(np.array([[0, 2], [2, 255]], np.uint8))[[0, 1, 2, 255]]
    array([1, 0, 2, 1])
    """
    counts = np.zeros(256, np.int64)
    for band in _bands(label_map):
        counts += cv2.calcHist([band], [0], None, [256], [0, 256]).reshape(-1).astype(np.int64)
    return counts


def count_pairs(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """How often each pair of values shares a pixel of two (H, W) uint8 maps: (256 truth, 256 predicted) int64.

    One joint histogram, which OpenCV makes about eight times faster than `numpy.bincount` over the counted pixels
    (1024x2048, one thread). Raises ValueError when the maps differ in size.

    >>> pairs = count_pairs(np.array([[0, 0, 7]], np.uint8), np.array([[0, 3, 3]], np.uint8))
    >>> {tuple(place): int(pairs[tuple(place)]) for place in np.argwhere(pairs).tolist()}
    {(0, 0): 1, (0, 3): 1, (7, 3): 1}
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth and prediction differ in size: {truth.shape} and {prediction.shape}")
    pairs = np.zeros((256, 256), np.int64)
    for bands in zip(_bands(truth), _bands(prediction), strict=True):
        pairs += cv2.calcHist(list(bands), [0, 1], None, [256, 256], [0, 256, 0, 256]).astype(np.int64)
    return pairs


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixels by truth (rows) and prediction (columns) of two label maps: (K, K + 1) int64, K <= 255.

    Pixels whose truth is `IGNORE_INDEX` are left out. The last column holds pixels that were given no class (predicted
    `IGNORE_INDEX`): they are wrong, and are not dropped. Raises ValueError when the sizes differ or a label is
    neither a class nor `IGNORE_INDEX`.

    Args:
        truth: (H, W) uint8 annotated classes, `IGNORE_INDEX` where nothing counts.
        prediction: (H, W) uint8 predicted classes of the same pixels.
        num_classes: K, the number of classes, which are 0..K-1.

    >>> confusion_matrix(np.array([[0, 0, 1, 255]], np.uint8), np.array([[0, 1, 255, 0]], np.uint8), 2)
    array([[1, 1, 0],
           [0, 0, 1]])
    """
    pairs = count_pairs(truth, prediction)
    counted = pairs[:IGNORE_INDEX]
    _only_classes(counted.sum(1), num_classes, "truth")
    _only_classes(counted[:, :IGNORE_INDEX].sum(0), num_classes, "prediction")
    columns = [*range(num_classes), IGNORE_INDEX]
    return counted[:num_classes, columns]


def _only_classes(counts: np.ndarray, num_classes: int, whose: str) -> None:
    extra = np.flatnonzero(counts[num_classes:]) + num_classes
    if len(extra):
        found = listed((f"{label} ({counts[label]} pixels)" for label in extra), 5)
        raise ValueError(f"{whose} holds labels outside 0..{num_classes - 1}: {found}")


def _bands(label_map: np.ndarray) -> list[np.ndarray]:
    if label_map.dtype != np.uint8 or label_map.ndim != 2:
        raise ValueError(f"a label map must be (H, W) uint8, found {label_map.shape} {label_map.dtype}")
    rows = max(1, _EXACT // max(1, label_map.shape[1]))
    label_map = np.ascontiguousarray(label_map)
    return [label_map[start : start + rows] for start in range(0, len(label_map), rows)]
