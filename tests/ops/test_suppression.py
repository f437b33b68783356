"""Suppression of many boxes against its slow twin, torchvision's comparison of all with all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import nms

from toolkit.ops.boxes import suppress
from toolkit.ops.suppression import MANY, suppress_many


def scene(count: int, side: float, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Objects that are each seen twice, some very long, in no order."""
    rng = np.random.default_rng(seed)
    near, sides = rng.uniform(-50, side, (count // 2, 2)), rng.uniform(2, 80, (count // 2, 2))
    sides[:3] = (side, 5), (4, side), (side, side)
    once = np.concatenate([near, near + sides], 1)
    boxes = np.concatenate([once, once + rng.normal(0, 3, once.shape)]).astype(np.float32)
    labels = np.concatenate([rng.integers(0, classes, count // 2)] * 2)
    mixed = rng.permutation(len(boxes))
    return boxes[mixed], rng.random(len(boxes), np.float32)[mixed], labels[mixed]


def slow_twin(boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, iou: float) -> list[int]:
    stay = []
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        stay += rows[nms(torch.from_numpy(boxes[rows]), torch.from_numpy(scores[rows]), iou).numpy()].tolist()
    return sorted(stay, key=lambda row: -scores[row])


@pytest.mark.parametrize("iou", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize(("side", "classes"), [(500.0, 4), (4000.0, 1)])
def test_the_same_boxes_stay_as_when_all_are_compared(side: float, classes: int, iou: float) -> None:
    boxes, scores, labels = scene(2400, side, classes)
    found = suppress_many(boxes, scores, labels, iou)
    assert found is not None
    assert found.tolist() == slow_twin(boxes, scores, labels, iou)


def test_shifted_and_tiny_pictures_are_no_exception() -> None:
    boxes, scores, labels = scene(600, 300.0, 2, seed=1)
    for moved in (boxes * np.float32(1 / 4096), boxes - np.float32(5000)):
        found = suppress_many(moved, scores, labels, 0.5)
        assert found is not None
        assert found.tolist() == slow_twin(moved, scores, labels, 0.5)


def test_boxes_without_area_stay() -> None:
    boxes = np.array([[5, 5, 5, 9], [5, 5, 5, 9], [0, 0, 10, 10], [9, 9, 2, 2]], np.float32)
    found = suppress_many(boxes, np.ones(4, np.float32), np.zeros(4, np.int64), 0.5)
    assert found is not None
    assert found.tolist() == [0, 1, 2, 3]


def test_a_crowd_is_compared_as_ever() -> None:
    """As many boxes on one place have too many pairs to be listed; so have boxes that are no numbers."""
    rng = np.random.default_rng(0)
    boxes = np.tile(np.array([[0, 0, 50, 50]], np.float32), (MANY, 1)) + rng.normal(0, 2, (MANY, 4)).astype(np.float32)
    scores, labels = rng.random(MANY, np.float32), np.zeros(MANY, np.int64)
    assert suppress_many(boxes, scores, labels, 0.5) is None
    found = suppress(torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(labels), 0.5)
    assert found.tolist() == slow_twin(boxes, scores, labels, 0.5)
    assert suppress_many(np.full((2, 4), np.nan, np.float32), scores[:2], labels[:2], 0.5) is None


def test_few_and_many_boxes_go_by_one_rule() -> None:
    boxes, scores, labels = scene(MANY + 10, 3000.0, 3)
    found = suppress(torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(labels), 0.5)
    assert found.tolist() == slow_twin(boxes, scores, labels, 0.5)
