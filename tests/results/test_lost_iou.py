"""The parts of the lost IoU add up to it, and a mended IoU is what an evaluation of the mended answer measures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.ops.confusion import confusion_matrix
from toolkit.ops.pixel_errors import ERROR_KINDS, count_error_pixels, error_kinds
from toolkit.results.lost_iou import lost_iou
from toolkit.samples import LabelMap, Truth

CLASSES = ["sky", "road", "car", "never"]


def pairs(seed: int, count: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        truth = np.kron(random.integers(0, 3, (4, 5)), np.ones((6, 6))).astype(np.uint8)
        answer = np.roll(truth, 1, 1)
        answer[random.integers(0, 20) :, : random.integers(1, 12)] = random.integers(0, 3)
        answer[random.random(truth.shape) < 0.02] = 255
        truth[random.random(truth.shape) < 0.05] = 255
        found.append((truth, answer))
    return found


def measured(maps: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float | None]:
    evaluator = SemanticEvaluator(CLASSES)
    for number, (truth, answer) in enumerate(maps):
        evaluator.update([LabelMap(torch.from_numpy(answer))], [Truth(f"{number}.png", number, truth.shape, truth)])
    return evaluator.compute()


def counted(maps: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    pixels, errors = [], []
    for truth, answer in maps:
        matrix = confusion_matrix(truth, answer, len(CLASSES))
        pixels.append([np.diagonal(matrix), matrix.sum(1), matrix[:, :-1].sum(0)])
        errors.append(count_error_pixels(truth, answer, error_kinds(truth, answer, 1.0), len(CLASSES)))
    return np.array(pixels), np.array(errors)


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_of_the_lost_iou_add_up_to_it(seed: int) -> None:
    maps = pairs(seed)
    found, numbers = lost_iou(*counted(maps), CLASSES), measured(maps)
    assert found["mIoU"] == pytest.approx(numbers["mIoU"], abs=1e-12)
    assert sum(found["lost"].values()) == pytest.approx(1 - numbers["mIoU"], abs=1e-12)
    for name in CLASSES[:3]:
        assert sum(found["by_class"][name]["lost"].values()) == pytest.approx(1 - numbers[f"IoU/{name}"], abs=1e-12)
    assert found["by_class"]["never"]["IoU"] is None


@pytest.mark.parametrize("seed", range(5))
def test_a_mended_iou_is_that_of_the_answer_with_those_pixels_put_right(seed: int) -> None:
    maps = pairs(seed)
    found = lost_iou(*counted(maps), CLASSES)
    for kind, name in enumerate(ERROR_KINDS, start=1):
        mended = [
            (truth, np.where(error_kinds(truth, answer, 1.0) == kind, truth, answer).astype(np.uint8))
            for truth, answer in maps
        ]
        assert found["mended"][name] == pytest.approx(measured(mended)["mIoU"], abs=1e-12)


def test_excluded_classes_are_in_no_mean_and_the_largest_loss_is_named() -> None:
    pixels = np.array([[[50, 8, 0, 0], [50, 10, 4, 0], [54, 10, 0, 0]]])
    errors = np.zeros((1, 4, 4, 2), np.int64)
    errors[0, 2, 2, 0] = errors[0, 2, 0, 1] = 4  # cars that were missed as sky
    errors[0, 0, 1] = 2
    found = lost_iou(pixels, errors, CLASSES, excluded=["sky"])
    assert found["largest"] == {"kind": "missed", "class": "car", "lost": 1.0}
    assert found["mIoU"] == pytest.approx((8 / 12 + 0) / 2)
    assert found["pixels"] == {"boundary": 2, "confusion": 0, "missed": 4, "false": 0}
