from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassPrecision,
)

from toolkit.errors import DataError
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.samples import Detections, LabelMap, Truth

NAMES = ["road", "sky", "car", "tree", "pole"]


def truth(label_map, name="a.png"):
    label_map = np.asarray(label_map, np.uint8)
    return Truth(name, 0, label_map.shape, label_map)


def prediction(labels):
    return LabelMap(torch.as_tensor(np.asarray(labels, np.uint8)))


def images(seed, used, size=(37, 41), number=4):
    """Truths with ignored pixels and predictions that are right three times in four, over some of the classes."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        true = rng.choice(used, size).astype(np.uint8)
        guess = np.where(rng.random(size) < 0.75, true, rng.choice(used, size)).astype(np.uint8)
        true[rng.random(size) < 0.1] = 255
        yield guess, true


@pytest.mark.parametrize("used", [[0, 1, 2, 3, 4], [0, 2, 3], [1]])
def test_equals_torchmetrics_over_the_whole_set(used):
    ours = SemanticEvaluator(NAMES)
    others = {
        "mIoU": MulticlassJaccardIndex(5, average="macro", ignore_index=255),
        "mAcc": MulticlassAccuracy(5, average="macro", ignore_index=255),
        "mDice": MulticlassF1Score(5, average="macro", ignore_index=255),
        "aAcc": MulticlassAccuracy(5, average="micro", ignore_index=255),
        "mPrecision": MulticlassPrecision(5, average="macro", ignore_index=255),
        "fwIoU": MulticlassJaccardIndex(5, average="weighted", ignore_index=255),
        "IoU": MulticlassJaccardIndex(5, average="none", ignore_index=255),
        "Acc": MulticlassAccuracy(5, average="none", ignore_index=255),
        "Precision": MulticlassPrecision(5, average="none", ignore_index=255),
        "F1": MulticlassF1Score(5, average="none", ignore_index=255),
    }
    for guess, true in images(len(used), used):
        ours.update([prediction(guess)], [truth(true)])
        for metric in others.values():
            metric.update(torch.from_numpy(guess).long(), torch.from_numpy(true).long())
    found = ours.compute()
    assert found["mF1"] == found["mDice"]
    for name in ("mIoU", "mAcc", "mDice", "aAcc", "mPrecision", "fwIoU"):
        assert found[name] == pytest.approx(others[name].compute().item(), abs=1e-6), name
    for kind in ("IoU", "Acc", "Precision", "F1"):
        expected = others[kind].compute().tolist()
        for label, name in enumerate(NAMES):
            value = found[f"{kind}/{name}"]
            assert value == (pytest.approx(expected[label], abs=1e-6) if label in used else None)


def test_by_hand():
    evaluator = SemanticEvaluator(NAMES)
    # road: 2 of 3 right; sky is predicted once and never true; car: its only pixel got no class; 255 is left out.
    evaluator.update([prediction([[0, 0, 1, 255, 4]])], [truth([[0, 0, 0, 2, 255]])])
    found = evaluator.compute()
    assert found["IoU/road"] == pytest.approx(2 / 3)
    assert (found["IoU/sky"], found["IoU/car"], found["IoU/tree"], found["IoU/pole"]) == (0, 0, None, None)
    assert (found["Acc/road"], found["Acc/sky"], found["Acc/car"]) == (pytest.approx(2 / 3), None, 0)
    assert found["mIoU"] == pytest.approx(2 / 9)
    assert found["mAcc"] == pytest.approx(1 / 3)
    assert found["mDice"] == pytest.approx(0.8 / 3)
    assert found["aAcc"] == pytest.approx(0.5)
    assert (found["Precision/road"], found["Precision/sky"], found["Precision/car"]) == (1, 0, 0)
    assert found["mPrecision"] == pytest.approx(1 / 3)
    assert found["fwIoU"] == pytest.approx(2 / 3 * 3 / 4)
    assert evaluator.tables() == [
        (
            "Classes",
            ["Class", "IoU", "Acc", "Precision", "F1"],
            [
                ["road", "66.67", "66.67", "100.00", "80.00"],
                ["sky", "0.00", "-", "0.00", "0.00"],
                ["car", "0.00", "0.00", "0.00", "0.00"],
                ["tree", "-", "-", "-", "-"],
                ["pole", "-", "-", "-", "-"],
            ],
        ),
        (
            "Summary",
            ["aAcc", "mIoU", "mAcc", "mDice", "mPrecision", "fwIoU"],
            [["50.00", "22.22", "33.33", "26.67", "33.33", "50.00"]],
        ),
    ]


def test_it_is_not_the_mean_over_images():
    evaluator = SemanticEvaluator(["a", "b"])
    evaluator.update([prediction([[0, 1, 1, 1]])], [truth([[0, 0, 0, 0]])])
    evaluator.update([prediction([[0]])], [truth([[0]])])
    assert evaluator.compute()["IoU/a"] == pytest.approx(2 / 5)


def test_nothing_counted_is_undefined_not_zero():
    evaluator = SemanticEvaluator(NAMES)
    assert set(evaluator.compute().values()) == {None}
    evaluator.update([prediction([[0, 1]])], [truth([[255, 255]])])
    assert set(evaluator.compute().values()) == {None}


def test_the_image_is_named_when_something_does_not_fit():
    evaluator = SemanticEvaluator(NAMES)
    cases = [
        (prediction([[0, 1]]), truth([[0], [1]], "b/x.png"), r"b/x\.png: truth and prediction differ in size"),
        (prediction([[7]]), truth([[0]]), r"a\.png: prediction holds labels outside 0\.\.4: 7 \(1 pixels\)"),
        (prediction([[0]]), truth([[9]]), r"a\.png: truth holds labels outside"),
        (prediction([[0]]), Truth("c.png", 0, (1, 1)), r"c\.png: has no label map"),
        (Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0)), truth([[0]]), "was given detections"),
    ]
    for guess, true, message in cases:
        with pytest.raises(DataError, match=message):
            evaluator.update([guess], [true])
    assert evaluator.confusion.sum() == 0
