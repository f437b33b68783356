"""Which class each true box was found as: a confusion matrix of boxes, with a row and a column for "nothing there"."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from toolkit.results.box_images import ImageBoxes, image_boxes, matched


def box_confusion(
    arrays: Mapping[str, np.ndarray], num_classes: int, score: float, overlap: float = 0.5, limit: int = 100
) -> np.ndarray:
    """True boxes by class and by the class of the detection that found them: (N, K + 1, K + 1) int64 of N images.

    First every detection finds a true box of its own class, as for AP; so the diagonal holds exactly the true positives.
    What is left of both is then matched whatever the class, best score first. Row K: detections on no object; column K:
    true boxes without a detection. Detections in crowds and on difficult boxes, and these themselves, are left out.

    Args:
        arrays: flat arrays of a record (`evaluators/detection_record.py`).
        num_classes: K, the number of classes.
        score: detections below it, 0..1, are left out.
        overlap: IoU, 0..1, from which a detection finds a true box.
        limit: the most detections of an image that are looked at, best first.

    >>> boxes = {"truth_boxes": np.array([[0.0, 0, 9, 9], [20, 0, 29, 9]]), "detection_boxes": np.array([[0.0, 0, 9, 8]])}
    >>> flags = {"truth_crowd": np.zeros(2, bool), "truth_difficult": np.zeros(2, bool), "truth_counts": np.array([2])}
    >>> found = {"detection_labels": np.array([1]), "detection_scores": np.array([0.9]), "detection_counts": np.array([1])}
    >>> box_confusion({**boxes, **flags, **found, "truth_labels": np.array([0, 1])}, 2, score=0.5)[0]
    array([[0, 1, 0],
           [0, 0, 1],
           [0, 0, 0]])
    """
    counts = np.zeros((len(arrays["truth_counts"]), num_classes + 1, num_classes + 1), np.int64)
    for matrix, image in zip(counts, image_boxes(arrays, overlap, limit), strict=True):
        _count(image, matrix, score, overlap)
    return counts


def _count(image: ImageBoxes, matrix: np.ndarray, score: float, overlap: float) -> None:
    """Adds one image to its matrix (K + 1, K + 1)."""
    none = len(matrix) - 1
    number = int((image.scores >= score).sum())  # they come by falling score
    ious, labels = image.ious[:number], image.labels[:number]
    partners = matched(ious, image.same[:number], overlap)
    taken = np.isin(np.arange(len(image.truths)), partners)
    open_pairs = ((partners < 0) & ~image.spared[:number])[:, None] & ~taken
    others = matched(ious, open_pairs, overlap)
    partners = np.where(partners >= 0, partners, others)
    found = partners >= 0
    np.add.at(matrix, (image.truth_labels[partners[found]], labels[found]), 1)
    matrix[none] += np.bincount(labels[~found & ~image.spared[:number]], minlength=none + 1)
    missed = ~np.isin(np.arange(len(image.truths)), partners)
    matrix[:, none] += np.bincount(image.truth_labels[missed], minlength=none + 1)
