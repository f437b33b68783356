"""A baseline is what the evaluator measures when it is shown that answer, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.contracts import Evaluator
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.results.baseline import baseline
from toolkit.results.image_rows import ImageRow
from toolkit.results.record import Record
from toolkit.samples import Boxes, Detections, LabelMap, Prediction, Truth

CLASSES = ["Background", "road", "car"]


def record_of(evaluator: Evaluator, found: list[Prediction], truths: list[Truth]) -> Record:
    rows = zip(evaluator.rows(found, truths), truths, strict=True)
    images = [ImageRow(truth.name, truth.image_id, truth.size, row) for row, truth in rows]
    return Record.of(images, {"task": "any", "classes": CLASSES})


def test_the_most_frequent_class_and_background_everywhere() -> None:
    random = np.random.default_rng(0)
    maps = random.choice([0, 1, 1, 1, 2, 255], (3, 10, 12)).astype(np.uint8)
    truths = [Truth(f"{place}.png", place, (10, 12), one) for place, one in enumerate(maps)]
    answers: list[Prediction] = [
        LabelMap(torch.from_numpy(random.integers(0, 3, (10, 12)).astype(np.uint8))) for _ in maps
    ]
    found = baseline(record_of(SemanticEvaluator(CLASSES), answers, truths), lambda: SemanticEvaluator(CLASSES))
    assert [entry["answer"] for entry in found] == ["'road' everywhere", "'Background' everywhere"]
    for entry, label in zip(found, (1, 0), strict=True):
        shown = SemanticEvaluator(CLASSES)
        shown.update([LabelMap(torch.full((10, 12), label, dtype=torch.uint8))] * 3, truths)
        assert entry["metrics"] == pytest.approx(shown.compute())


def test_the_mean_box_of_each_class_in_shares_of_the_image() -> None:
    sizes = [(40, 80), (20, 40)]
    truths = [
        Truth("a.png", 1, sizes[0], boxes=Boxes.of([[0, 0, 40, 20], [8, 8, 16, 16]], [1, 1])),
        Truth("b.png", 2, sizes[1], boxes=Boxes.of([[20, 0, 40, 20]], [2])),
    ]
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    found = baseline(record_of(CocoEvaluator(CLASSES), [none, none], truths), lambda: CocoEvaluator(CLASSES))
    assert [entry["answer"] for entry in found] == ["no box at all", "the mean box of each class"]
    assert found[0]["metrics"]["AP"] == 0
    shown = CocoEvaluator(CLASSES)
    shares = torch.tensor([[0.05, 0.1, 0.35, 0.45], [0.5, 0.0, 1.0, 1.0]])
    for truth, (height, width) in zip(truths, sizes, strict=True):
        boxes = shares * torch.tensor([width, height, width, height])
        shown.update([Detections(boxes, torch.tensor([2 / 3, 1 / 3]), torch.tensor([1, 2]))], [truth])
    assert found[1]["metrics"] == pytest.approx(shown.compute(), abs=1e-6)
    assert found[1]["metrics"]["AP/car"] == 0.5  # once where there is none, once on it


def test_no_images_have_no_baseline() -> None:
    assert baseline(Record.of([], {"classes": CLASSES}), lambda: SemanticEvaluator(CLASSES)) == []
