"""Whether scores are probabilities: the expected calibration error, before and after one temperature."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.ops.score_bins import SCORE_EDGES, dense_counts
from toolkit.results.box_images import image_boxes, matched
from toolkit.results.record import Record

BINS = 15
"""Bins of equal width (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.1)."""
_LIMITS = (1 / 100, 100.0)
"""Temperatures that are tried."""
_TINY = 1e-7


def calibration_error(
    scores: np.ndarray, right: np.ndarray, weights: np.ndarray | None = None, bins: int = BINS
) -> float:
    """Mean gap between score and share of right answers over bins of equal width, each by its answers (Guo et al. 2017, eq. 3).

    Args:
        scores: (N,) score of each answer, 0..1.
        right: (N,) share of it that is right: bool, or 0..1 where an entry stands for several answers.
        weights: (N,) how many answers each entry stands for; None for one each.
        bins: number of bins of equal width; a score on an edge belongs to the bin below.

    >>> round(calibration_error(np.array([0.9, 0.9, 0.6]), np.array([True, False, True])), 3)
    0.4
    """
    table = _bins(scores, right, np.ones(len(scores)) if weights is None else weights, bins)
    total = sum(row["count"] for row in table)
    return float(sum(row["count"] * abs(row["score"] - row["right"]) for row in table) / total) if total else 0.0


def fit_temperature(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The T that makes softmax(logits / T) most likely (Guo et al. 2017, section 4.2): 1/100 to 100, exact to 1e-8.

    The mean -log p is convex in 1 / T, so its slope has one zero, which is found by halving.

    Args:
        logits: (N, K) logits, or logarithms of probabilities.
        labels: (N,) class of each, 0..K-1.
        weights: (N,) how many answers each entry stands for; None for one each.
    """
    counts = np.ones(len(logits)) if weights is None else weights
    logits = logits - logits.max(1, keepdims=True)
    wanted = logits[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        scaled = np.exp(inverse * logits)
        expected = (scaled * logits).sum(1) / scaled.sum(1)
        return float((counts * (expected - wanted)).sum())

    low, high = 1 / _LIMITS[1], 1 / _LIMITS[0]
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 2 / (low + high)


def calibration(record: Record) -> dict[str, Any]:
    """The section `calibration` of a record; {} where it holds no scores.

    Every answer has one score, that of the class it was given: of a pixel the highest probability, of a detection its own,
    right when it finds a true box of its class (IoU 0.5). The temperature divides the logit of that score, log(p / (1 - p)); for
    two classes that is the softmax's own temperature. `ece_after` is measured on the same answers that it was fitted on.
    """
    found = _answers(record)
    if found is None:
        return {}
    what, scores, right, weights = found
    inside = np.clip(scores, _TINY, 1 - _TINY)
    logits = np.log(inside / (1 - inside))
    pairs = np.stack([np.zeros(len(logits)), logits], 1)
    both, labels = np.concatenate([pairs, pairs]), np.repeat([1, 0], len(pairs))
    temperature = fit_temperature(both, labels, np.concatenate([weights * right, weights * (1 - right)]))
    after = 1 / (1 + np.exp(-logits / temperature))
    return {
        "what": what,
        "answers": int(weights.sum()),
        "temperature": temperature,
        "ece": calibration_error(scores, right, weights),
        "ece_after": calibration_error(after, right, weights),
        "bins": _bins(scores, right, weights, BINS),
        "bins_after": _bins(after, right, weights, BINS),
    }


def _answers(record: Record) -> tuple[str, np.ndarray, np.ndarray, np.ndarray] | None:
    """What was answered: scores, share of right ones, and how many answers each entry stands for."""
    arrays = record.arrays
    if "score_cells" in arrays:
        counts = dense_counts(arrays["score_cells"], arrays["score_pixels"], len(record.classes)).sum(0)
        total = counts.sum(1)
        middle = (SCORE_EDGES + np.append(SCORE_EDGES[1:], 1.0)) / 2
        filled = total > 0
        share = counts[filled, 1] / total[filled]
        return ("pixels", middle[filled], share, total[filled].astype(np.float64)) if filled.any() else None
    if "detection_scores" in arrays:
        right, kept = (np.zeros(len(arrays["detection_scores"]), bool) for _ in range(2))
        for image in image_boxes(arrays, overlap=0.5):
            right[image.detections] = matched(image.ious, image.same, 0.5) >= 0
            kept[image.detections] = right[image.detections] | ~image.spared
        scores = arrays["detection_scores"][kept]
        return ("detections", scores, right[kept].astype(np.float64), np.ones(len(scores))) if len(scores) else None
    return None


def _bins(scores: np.ndarray, right: np.ndarray, weights: np.ndarray, bins: int) -> list[dict[str, float]]:
    """The bins that are not empty."""
    edges = np.linspace(0, 1, bins + 1)
    places = np.clip(np.searchsorted(edges, scores, side="left") - 1, 0, bins - 1)
    count = np.bincount(places, weights, bins)
    score, good = (np.bincount(places, weights * values, bins) for values in (scores, right))
    return [
        {"low": float(edges[place]), "high": float(edges[place + 1]), "count": float(count[place]),
         "score": float(score[place] / count[place]), "right": float(good[place] / count[place])}
        for place in np.flatnonzero(count).tolist()
    ]  # fmt: skip
