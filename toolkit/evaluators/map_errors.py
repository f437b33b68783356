"""What a record keeps of the errors of a label map beside its confusion matrix."""

from __future__ import annotations

import numpy as np

from toolkit.ops.pixel_errors import border_distance, count_error_pixels, error_kinds
from toolkit.ops.score_bins import count_scores
from toolkit.ops.suspect_regions import suspect_regions
from toolkit.samples import LabelMap


def map_errors(truth: np.ndarray, prediction: LabelMap, num_classes: int) -> dict[str, np.ndarray]:
    """Arrays of one image for a record: wrong pixels by kind, and where the prediction has scores, these and suspicious labels.

    `error_pixels` (1, 4, K, 2) is `count_error_pixels`; `score_counts`, `score_cells` and `score_pixels` are `count_scores`;
    `suspect_counts` and `suspect_boxes`, `_labels`, `_answers`, `_kinds`, `_pixels` and `_scores` are `suspect_regions`.

    Args:
        truth: (H, W) uint8 annotated classes, `IGNORE_INDEX` where nothing counts.
        prediction: labels of the same pixels, with their probabilities or without.
        num_classes: K, the number of classes.
    """
    answer, distance = prediction.labels.numpy(), border_distance((truth.shape[0], truth.shape[1]))
    kinds = error_kinds(truth, answer, distance)
    arrays = {"error_pixels": count_error_pixels(truth, answer, kinds, num_classes)[None]}
    if prediction.scores is None:
        return arrays
    scores = prediction.scores.numpy()
    cells, pixels = count_scores(truth, answer, scores, num_classes)
    suspects = suspect_regions(truth, answer, scores, kinds, distance)
    return {
        **arrays,
        "score_counts": np.array([len(cells)]),
        "score_cells": cells,
        "score_pixels": pixels,
        "suspect_counts": np.array([len(suspects.labels)]),
        **{f"suspect_{field}": array for field, array in suspects._asdict().items()},
    }
