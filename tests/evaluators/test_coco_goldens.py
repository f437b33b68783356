"""The coco evaluator against other programs on a thousand small cases, and its two ways to match against one another."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.evaluators.coco import CocoEvaluator
from toolkit.ops import coco_matching, native
from toolkit.ops.average_precision import PrecisionRecall
from toolkit.samples import Boxes, Detections, Truth

CASES, IMAGES = 1000, 3
"""Each case is a class of its own on the same images: one evaluation makes the curves of all."""


def a_case(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Truths (G, 4), which are crowds, and detections (D, 4) with scores of one class in one image; often none of one kind."""
    number = int(random.choice([0, 1, 2, 3, 8]))
    corner = random.integers(0, 60, (number, 2))
    truths = np.concatenate([corner, corner + random.choice([5, 20, 40, 100, 150], (number, 2))], 1).astype(np.float32)
    if number > 1 and random.random() < 0.5:
        truths[1] = truths[0]  # twins: equal overlaps
    crowd = random.random(number) < random.choice([0, 0.3, 1])
    near = truths[np.repeat(np.arange(number), random.integers(0, 4, number))]
    near = near + random.integers(-2, 3, near.shape) * random.choice([0, 1, 4])
    corner = random.integers(0, 90, (int(random.choice([0, 0, 1, 4])), 2))
    boxes = np.concatenate([near, np.concatenate([corner, corner + 10], 1)]).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    scores = random.choice(np.float32([0.1, 0.5, 0.5, 0.75, 0.9]), len(boxes))  # ties
    return truths, crowd, boxes, scores


@pytest.fixture(scope="module")
def cases() -> tuple[list[Detections], list[Truth]]:
    random = np.random.default_rng(0)
    predictions, truths = [], []
    for image in range(IMAGES):
        parts = [a_case(random) for _ in range(CASES)]
        labels = [np.repeat(np.arange(CASES), [len(part[place]) for part in parts]) for place in (0, 2)]
        xyxy, crowd, boxes, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
        area = (xyxy[:, 2:] - xyxy[:, :2]).prod(1) * random.choice(np.float32([1, 0.5]), len(xyxy))
        own = Boxes(xyxy, labels[0], crowd, np.zeros(len(xyxy), bool), area)
        truths.append(Truth(str(image), image + 1, (480, 640), boxes=own))
        predictions.append(Detections(*(torch.from_numpy(field) for field in (boxes, scores, labels[1]))))
    return predictions, truths


@pytest.fixture(scope="module")
def found(cases) -> PrecisionRecall:
    return curves(cases)


def curves(cases: tuple[list[Detections], list[Truth]]) -> PrecisionRecall:
    evaluator = CocoEvaluator([str(number) for number in range(CASES)])
    evaluator.update(*cases)
    return evaluator.curves()


def xywh(xyxy: np.ndarray) -> list[list[float]]:
    corners = xyxy.astype(np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).tolist()


def evaluated(package: Any, evaluation: str, cases: tuple[list[Detections], list[Truth]]) -> dict[str, np.ndarray]:
    """Precision, recall and scores by a package with pycocotools' interface."""
    predictions, truths = cases
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for prediction, truth in zip(predictions, truths, strict=True):
        own = truth.boxes
        for label, box, crowd, area in zip(own.labels, xywh(own.xyxy), own.crowd, own.area, strict=True):
            annotations.append({"id": len(annotations) + 1, "image_id": truth.image_id, "category_id": int(label) + 1,
                                "bbox": box, "iscrowd": int(crowd), "area": float(area)})  # fmt: skip
        boxes, scores, labels = (field.numpy() for field in prediction)
        results += [
            {"image_id": truth.image_id, "category_id": int(label) + 1, "bbox": box, "score": float(score)}
            for label, box, score in zip(labels, xywh(boxes), scores, strict=True)
        ]
    content = {
        "info": {},
        "images": [{"id": truth.image_id, "width": 640, "height": 480, "file_name": truth.name} for truth in truths],
        "annotations": annotations,
        "categories": [{"id": number + 1, "name": str(number)} for number in range(CASES)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth = package.COCO(content)
        done = getattr(package, evaluation)(truth, truth.loadRes(results), "bbox")
        done.evaluate()
        done.accumulate()
    return {name: np.asarray(done.eval[name]) for name in ("precision", "recall", "scores")}


def test_a_thousand_cases_equal_hotcoco_to_the_bit(cases, found) -> None:
    hotcoco = pytest.importorskip("hotcoco", reason="hotcoco is not installed")
    expected = evaluated(hotcoco, "COCOeval", cases)
    assert 500 < (found.recall[0, :, 0, -1] > -1).sum() < CASES  # some have no truth that counts
    for name, array in expected.items():
        np.testing.assert_array_equal(getattr(found, name), array.reshape(getattr(found, name).shape))


@pytest.mark.slow
def test_a_thousand_cases_equal_faster_coco_eval(cases, found) -> None:
    package = pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    expected = evaluated(package, "COCOeval_faster", cases)
    for name, array in expected.items():
        own = getattr(found, name)
        np.testing.assert_allclose(own, array.reshape(own.shape), rtol=0, atol=1e-12)


def test_without_a_compiler_the_curves_are_the_same(cases, found, monkeypatch: pytest.MonkeyPatch) -> None:
    if native.compiler() is None:
        pytest.skip("no C compiler here")
    assert sum(len(prediction.scores) for prediction in cases[0]) >= coco_matching._SMALLEST
    monkeypatch.setattr(coco_matching, "compile_c", lambda source: None)
    for one, other in zip(found, curves(cases), strict=True):
        np.testing.assert_array_equal(one, other)
