"""Classes that are left out of the means keep their own numbers; a mean is that of the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.errors import ConfigError
from toolkit.evaluators.classification import ClassificationEvaluator
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.evaluators.dense_regression import DenseRegressionEvaluator
from toolkit.evaluators.regression import RegressionEvaluator
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.evaluators.voc import VocEvaluator
from toolkit.samples import Boxes, Detections, ImageScores, ImageValues, LabelMap, Truth

NAMES = ["background", "cat", "dog"]


def seen(kind):
    """Predictions and truths of 12 images whose classes are found unequally well."""
    rng = np.random.default_rng(3)
    for number in range(12):
        name, size = f"{number}.png", (10, 12)
        if kind is SemanticEvaluator:
            true = rng.integers(0, 3, size).astype(np.uint8)
            guess = np.where(rng.random(size) < 0.3 + 0.2 * true, true, 0).astype(np.uint8)
            yield LabelMap(torch.from_numpy(guess)), Truth(name, number, size, true)
        elif kind is ClassificationEvaluator:
            yield (
                ImageScores(torch.from_numpy(rng.random(3).astype(np.float32))),
                Truth(name, number, size, image_label=number % 3),
            )
        elif kind is RegressionEvaluator:
            values = ImageValues(torch.from_numpy(rng.random(3).astype(np.float32)))
            yield values, Truth(name, number, size, image_values=rng.random(3).astype(np.float32))
        else:
            boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], np.float32)
            moved = boxes + rng.integers(0, 4, (3, 1)).astype(np.float32) * np.array([0, 1, 2])[:, None]
            found = Detections(
                *map(torch.from_numpy, (moved.astype(np.float32), rng.random(3).astype(np.float32), np.arange(3)))
            )
            yield found, Truth(name, number, size, boxes=Boxes.of(boxes, [0, 1, 2]))


MEANS = {
    SemanticEvaluator: {"mIoU": "IoU", "mAcc": "Acc"},
    ClassificationEvaluator: {"mAcc": "Acc"},
    RegressionEvaluator: {"MAE": "MAE", "R2": "R2"},
    CocoEvaluator: {"AP": "AP"},
    VocEvaluator: {"mAP@0.5": "AP@0.5"},
}


@pytest.mark.parametrize("kind", MEANS)
def test_means_are_those_of_the_other_classes_alone(kind):
    whole, part = kind(NAMES), kind(NAMES)
    part.exclude(["background"])
    for prediction, truth in seen(kind):
        whole.update([prediction], [truth])
        part.update([prediction], [truth])
    full, less = whole.compute(), part.compute()
    for mean, by_class in MEANS[kind].items():
        values = [full[f"{by_class}/{name}"] for name in NAMES]
        assert full[mean] == pytest.approx(np.mean(values))
        assert less[mean] == pytest.approx(np.mean(values[1:]))
        assert less[mean] != full[mean]
    same = [name for name in full if "/" in name or name in ("aAcc", "top1")]
    assert {name: full[name] for name in same} == {name: less[name] for name in same}
    titles = [title for title, _, _ in part.tables()]
    assert any("means without background" in title for title in titles)
    assert not any("without" in title for title, _, _ in whole.tables())


def test_one_answer_for_everything_is_judged_by_the_same_means():
    evaluator = SemanticEvaluator(NAMES)
    evaluator.exclude(["background"])
    true = np.repeat(np.array([0, 1, 2], np.uint8), [60, 30, 10]).reshape(10, 10)
    evaluator.update([LabelMap(torch.from_numpy(np.ones_like(true)))], [Truth("a.png", 0, (10, 10), true)])
    assert evaluator.constant_answer() == ("'cat' everywhere", pytest.approx(0.30 / 2))
    assert evaluator.compute()["mIoU"] == pytest.approx(0.30 / 2)
    assert evaluator.never_right() == ["dog"]


@pytest.mark.parametrize(
    ("evaluator", "names"),
    [
        (SemanticEvaluator(NAMES), ["bakground"]),
        (SemanticEvaluator(NAMES), NAMES),
        (DenseRegressionEvaluator(["depth"]), ["depth"]),
    ],
)
def test_what_cannot_be_left_out_is_refused(evaluator, names):
    with pytest.raises(ConfigError, match=r"evaluate\.exclude"):
        evaluator.exclude(names)
