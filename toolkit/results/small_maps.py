"""Predicted label maps kept in a record, small and packed, so that its page can show any image without the model.

A map whose longer side is at most `LONGEST` pixels is kept as it is, a larger one by every n-th pixel. A street scene of
360x480 takes about 9 kB and half a millisecond. Numbers are never made from these: they have the counts of whole maps.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import cv2
import numpy as np

LONGEST = 640
"""Pixels of the longer side of a map that is kept, at most."""


def small_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) at which a map of a size is kept.

    >>> small_size((360, 480)), small_size((1024, 2048))
    ((360, 480), (320, 640))
    """
    scale = min(1.0, LONGEST / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def small_map(labels: np.ndarray) -> np.ndarray:
    """A label map (H, W) uint8 at the size at which it is kept, each pixel one of its own."""
    height, width = small_size((labels.shape[0], labels.shape[1]))
    if (height, width) == labels.shape:
        return labels
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def packed_map(labels: np.ndarray) -> dict[str, np.ndarray]:
    """A predicted label map (H, W) uint8 as the arrays of one image in a record."""
    packed = np.frombuffer(zlib.compress(np.ascontiguousarray(small_map(labels)).tobytes(), 1), np.uint8)
    return {"map_counts": np.array([len(packed)], np.int64), "map_bytes": packed}


def unpacked_map(arrays: Mapping[str, np.ndarray], place: int, size: tuple[int, int]) -> np.ndarray | None:
    """The small map of one image of a record, (h, w) uint8; None in a record without maps.

    Args:
        arrays: arrays of all images of the record.
        place: number of the image, from 0 on.
        size: (height, width) of the whole image.

    >>> labels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    >>> unpacked_map(packed_map(labels), 0, (2, 3)).tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    if "map_bytes" not in arrays:
        return None
    end = int(arrays["map_counts"][: place + 1].sum())
    packed = arrays["map_bytes"][end - int(arrays["map_counts"][place]) : end]
    return np.frombuffer(zlib.decompress(packed.tobytes()), np.uint8).reshape(small_size(size))
