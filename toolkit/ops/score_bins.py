"""How sure a label map was where it was right and where it was wrong: a histogram that later thresholds are read from.

The edges are fractions whose denominator is a power of two: a float32 score is sorted into its bin without rounding, so
that counting all bins from an edge on counts exactly the pixels whose score is at least that edge.
"""

from __future__ import annotations

import numpy as np

from toolkit.samples import IGNORE_INDEX

_STEPS = 1 << 16
_FINE = (192, 128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)
SCORE_EDGES = np.concatenate([np.arange(256) / 256, 1 - np.array(_FINE) / _STEPS])
"""(271,) float64 lower edges of the bins: 1/256 apart, and finer where sure nets are, up to 1 - 2^-16."""

_BIN_OF_STEP = (np.searchsorted(SCORE_EDGES, np.arange(_STEPS) / _STEPS, side="right") - 1).astype(np.int64)


def count_scores(
    truth: np.ndarray, prediction: np.ndarray, scores: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Counted pixels by predicted class, bin of the score, and wrong or right, as the cells that are not empty.

    Returns (cells, pixels): (C,) uint32 numbers `(label * 271 + bin) * 2 + right`, rising, and (C,) int64 pixels in each.
    Pixels whose truth is ignored, and those without a class, are in none.

    Args:
        truth: (H, W) uint8 annotated classes, `IGNORE_INDEX` where nothing counts.
        prediction: (H, W) uint8 predicted classes, `IGNORE_INDEX` for no class.
        scores: (H, W) float32 probability of the predicted class, 0..1.
        num_classes: K, the number of classes, which are 0..K-1.

    >>> truth, answer = np.array([[0, 1]], np.uint8), np.array([[0, 0]], np.uint8)
    >>> count_scores(truth, answer, np.array([[0.5, 0.25]], np.float32), 2)  # bin 128 right, bin 64 wrong
    (array([128, 257], dtype=uint32), array([1, 1]))
    """
    counted = (truth != IGNORE_INDEX) & (prediction != IGNORE_INDEX)
    labels = prediction[counted].astype(np.int64)
    bins = bins_of(scores[counted])
    places = (labels * len(SCORE_EDGES) + bins) * 2 + (truth[counted] == prediction[counted])
    pixels = np.bincount(places, minlength=num_classes * len(SCORE_EDGES) * 2)
    cells = np.flatnonzero(pixels)
    return cells.astype(np.uint32), pixels[cells]


def bins_of(scores: np.ndarray) -> np.ndarray:
    """The bin, 0..270, of each score 0..1: the last whose edge is not above it."""
    return _BIN_OF_STEP[np.clip(scores * _STEPS, 0, _STEPS - 1).astype(np.int64)]


def dense_counts(cells: np.ndarray, pixels: np.ndarray, num_classes: int) -> np.ndarray:
    """Cells of any number of images, added up: (K, 271, 2) int64 pixels that are wrong, right.

    Args:
        cells: (C,) numbers of cells, from `count_scores`, of one image or of many behind one another.
        pixels: (C,) how many pixels each of the cells holds.
        num_classes: K, the number of classes.
    """
    counts = np.bincount(cells, weights=pixels, minlength=num_classes * len(SCORE_EDGES) * 2)
    return counts.astype(np.int64).reshape(num_classes, len(SCORE_EDGES), 2)
