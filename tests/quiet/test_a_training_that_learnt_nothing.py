"""A run that ends with a number, and learnt nothing: the number is that of one answer for everything."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from toolkit.contracts import Evaluator
from toolkit.engine.evaluate import Evaluation
from toolkit.engine.interrupt import StopRequest
from toolkit.engine.periodic import learnt_nothing, measure
from toolkit.engine.position import RunPosition
from toolkit.engine.settings import TrainSettings
from toolkit.evaluators.classification import ClassificationEvaluator
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.evaluators.voc import VocEvaluator
from toolkit.progress import Progress
from toolkit.samples import Boxes, Detections, ImageScores, LabelMap, Truth

CLASSES = ["ground", "pole", "sky"]


def semantic(answer: np.ndarray) -> SemanticEvaluator:
    truth = np.zeros((10, 10), np.uint8)
    truth[:2] = 2
    truth[5, :3] = 1
    evaluator = SemanticEvaluator(CLASSES)
    evaluator.update([LabelMap(torch.from_numpy(answer))], [Truth("a.png", 0, (10, 10), label_map=truth)])
    return evaluator


def classified(answers: list[int]) -> ClassificationEvaluator:
    evaluator = ClassificationEvaluator(CLASSES)
    scores = [ImageScores(torch.eye(3)[label]) for label in answers]
    truths = [Truth(f"{i}.png", i, (8, 8), image_label=label) for i, label in enumerate([0, 0, 0, 1])]
    evaluator.update(scores, truths)
    return evaluator


def detected(evaluator: Evaluator, found: bool) -> Evaluator:
    box = torch.tensor([[2.0, 2.0, 8.0, 8.0]] if found else []).reshape(-1, 4)
    answer = Detections(box, torch.ones(len(box)), torch.zeros(len(box), dtype=torch.int64))
    boxes = Boxes.of([[2, 2, 8, 8], [20, 20, 30, 30]], [0, 2])
    evaluator.update([answer], [Truth("a.png", 0, (40, 40), boxes=boxes)])
    return evaluator


def lines_of(evaluator: Evaluator) -> list[str]:
    """At the end of a training whose last evaluation was its best."""
    numbers = evaluator.compute()
    result = Evaluation(
        numbers, [], 1, 0.0, constant=evaluator.constant_answer(), never_right=tuple(evaluator.never_right())
    )
    return learnt_nothing(evaluator, result, {"value": numbers[evaluator.metric], "step": 1})


def test_a_label_map_of_one_class() -> None:
    """77 of 100 pixels are ground: IoU 0.77 and two classes at 0 make 25.67."""
    lines = lines_of(semantic(np.zeros((10, 10), np.uint8)))
    assert "the best mIoU, 25.67, is no better than 'ground' everywhere (25.67)" in lines[0]
    assert lines[1].endswith("pole, sky")


def test_a_class_that_is_never_found() -> None:
    answer = np.zeros((10, 10), np.uint8)
    answer[:2] = 2
    lines = lines_of(semantic(answer))
    assert len(lines) == 1
    assert lines[0].endswith("pole")


def test_one_class_for_every_image() -> None:
    lines = lines_of(classified([0, 0, 0, 0]))
    assert "75.00, is no better than 'ground' for every image (75.00)" in lines[0]
    assert lines[1].endswith("pole")


@pytest.mark.parametrize("cls", [CocoEvaluator, VocEvaluator])
def test_no_box(cls: type[Evaluator]) -> None:
    lines = lines_of(detected(cls(CLASSES), found=False))
    assert "no better than no box at all" in lines[0]
    assert lines[1].endswith("ground, sky")
    assert [line.rpartition(": ")[2] for line in lines_of(detected(cls(CLASSES), found=True))] == ["sky"]


def test_what_has_learnt_is_left_in_peace() -> None:
    truth = np.zeros((10, 10), np.uint8)
    truth[:2] = 2
    truth[5, :3] = 1
    assert not lines_of(semantic(truth))
    assert not lines_of(classified([0, 0, 0, 1]))


def test_undefined_is_no_reproach() -> None:
    """Truths of a single class, or none: a constant answer is the right one, and nobody can tell."""
    evaluator = SemanticEvaluator(CLASSES)
    assert evaluator.constant_answer() is None
    assert CocoEvaluator(CLASSES).constant_answer() is None
    only = np.zeros((4, 4), np.uint8)
    evaluator.update([LabelMap(torch.from_numpy(only))], [Truth("a.png", 0, (4, 4), label_map=only)])
    assert not lines_of(evaluator)


@pytest.mark.parametrize(("step", "said"), [(4, False), (8, True)])
def test_a_training_says_it_once_at_its_end(step: int, said: bool) -> None:
    judge, told = semantic(np.zeros((10, 10), np.uint8)), []
    result = Evaluation(
        judge.compute(), [], 1, 0.0, constant=judge.constant_answer(), never_right=tuple(judge.never_right())
    )
    log = SimpleNamespace(line=told.append, event=lambda **values: None)
    job = SimpleNamespace(
        evaluate=lambda stop, last=False: result,
        judge=judge,
        log=log,
        model=torch.nn.Identity(),
        epoch=lambda step: 0.0,
    )
    position = RunPosition.of(None)
    position.step = step
    fabric = SimpleNamespace(is_global_zero=False, world_size=1)
    measure(fabric, job, TrainSettings(steps=8), position, StopRequest(), Progress("train", 8))  # type: ignore[arg-type]
    assert any("no better than" in line for line in told) == said
