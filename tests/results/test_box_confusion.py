"""The confusion matrix of boxes: every true box once, the diagonal as pycocotools matches, worked cases."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.ops.average_precision import DetectionTable, TruthTable, coco_precision_recall
from toolkit.results.box_confusion import box_confusion


def arrays_of(
    truths: list[tuple[list[float], int]], found: list[tuple[list[float], int, float]]
) -> dict[str, np.ndarray]:
    """One image's boxes: (xyxy, label) and (xyxy, label, score)."""
    return {
        "truth_counts": np.array([len(truths)]),
        "truth_boxes": np.array([box for box, _ in truths], np.float64).reshape(-1, 4),
        "truth_labels": np.array([label for _, label in truths], np.int64),
        "truth_crowd": np.zeros(len(truths), bool),
        "truth_difficult": np.zeros(len(truths), bool),
        "detection_counts": np.array([len(found)]),
        "detection_boxes": np.array([box for box, *_ in found], np.float64).reshape(-1, 4),
        "detection_labels": np.array([label for _, label, _ in found], np.int64),
        "detection_scores": np.array([score for *_, score in found], np.float64),
    }


A, B, FAR = [0.0, 0, 10, 10], [20.0, 0, 30, 10], [50.0, 0, 60, 10]


def test_a_detection_of_the_right_class_comes_before_a_better_scored_one_of_another() -> None:
    found = box_confusion(arrays_of([(A, 0)], [(A, 1, 0.9), ([0.0, 0, 10, 8], 0, 0.6)]), 2, 0.5)[0]
    assert found.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_invented_missed_and_misnamed_boxes_have_their_places() -> None:
    found = box_confusion(arrays_of([(A, 0), (B, 1)], [(A, 1, 0.9), (FAR, 0, 0.8), (B, 1, 0.4)]), 2, 0.5)[0]
    assert found.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_what_lies_in_a_crowd_is_in_no_cell() -> None:
    arrays = arrays_of([([0.0, 0, 40, 40], 0)], [(A, 0, 0.9), (A, 1, 0.9)])
    arrays["truth_crowd"][:] = True
    assert box_confusion(arrays, 2, 0.5)[0].tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("seed", range(20))
def test_rows_are_the_true_boxes_and_the_diagonal_is_the_recall_of_coco(seed: int) -> None:
    random = np.random.default_rng(seed)

    def boxes(count: int) -> np.ndarray:
        corner = random.uniform(0, 12, (count, 2))
        return np.concatenate([corner, corner + random.uniform(3, 11, (count, 2))], axis=1)

    truths = [(box.tolist(), int(random.integers(3))) for box in boxes(8)]
    found = [(box.tolist(), int(random.integers(3)), float(random.random())) for box in boxes(30)]
    arrays = arrays_of(truths, found)
    matrix = box_confusion(arrays, 3, 0.3)[0]
    labels = arrays["truth_labels"]
    assert matrix[:3].sum(1).tolist() == np.bincount(labels, minlength=3).tolist()
    kept = arrays["detection_scores"] >= 0.3
    assert matrix[:, :3].sum(0).tolist() == np.bincount(arrays["detection_labels"][kept], minlength=3).tolist()

    def xywh(xyxy: np.ndarray) -> np.ndarray:
        return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)

    none = np.zeros(8, bool)
    table = TruthTable(np.zeros(8, int), labels, xywh(arrays["truth_boxes"]), none, none, none, np.full(8, 50.0))
    rows = (np.zeros(int(kept.sum()), int), arrays["detection_labels"][kept])
    detections = DetectionTable(*rows, xywh(arrays["detection_boxes"][kept]), arrays["detection_scores"][kept])
    recall = coco_precision_recall(table, detections, 3, ious=np.array([0.5])).recall[0, :, 0, -1]
    for label in range(3):
        if (labels == label).any():
            assert matrix[label, label] / (labels == label).sum() == pytest.approx(recall[label])
