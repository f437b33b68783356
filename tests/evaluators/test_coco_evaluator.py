"""The coco evaluator against pycocotools, array by array, and its laws."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import toolkit.ops.average_precision as average_precision
import toolkit.ops.box_pairs as box_pairs
from toolkit.errors import DataError
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.samples import Boxes, Detections, LabelMap, Truth

LINES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
NAMES = ["a", "b", "c", "d", "e"]


def random_set(seed: int, images: int = 12, classes: int = 5) -> tuple[list[Detections], list[Truth]]:
    """Truths with crowds and odd areas; detections near them, doubled, with few distinct scores; empty images."""
    random = np.random.default_rng(seed)
    ids = random.permutation(images * 3)[:images] + 1
    present = random.permutation(classes)[: random.integers(1, classes + 1)]
    truths, predictions = [], []
    for image in ids:
        number = int(random.integers(0, 14)) * int(random.random() > 0.2)
        corner = random.integers(0, 300, (number, 2)).astype(float)
        size = random.choice([6, 20, 32, 50, 96, 150], (number, 2)) + random.integers(0, 2, (number, 2))
        if random.random() < 0.5:
            corner += random.random((number, 2))
        xyxy = np.concatenate([corner, corner + size], 1).astype(np.float32)
        if number > 2 and random.random() < 0.5:
            xyxy[1] = xyxy[0]  # twins: equal overlaps
        labels = random.choice(present, number)
        crowd = random.random(number) < 0.2
        area = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
        area = (area * random.choice([1, 1, 0.5], number)).astype(np.float32)
        truths.append(
            Truth(
                f"{image}.jpg", int(image), (480, 640), boxes=Boxes(xyxy, labels, crowd, np.zeros(number, bool), area)
            )
        )
        repeats = np.repeat(np.arange(number), random.integers(0, 4, number))
        near = xyxy[repeats] + np.round(
            random.normal(0, 4, (len(repeats), 4)) * random.choice([0, 1], (len(repeats), 1))
        )
        noise = random.integers(0, 300, (int(random.integers(0, 6)), 4))
        noise[:, 2:] = noise[:, :2] + random.integers(1, 150, (len(noise), 2))
        boxes = np.concatenate([near, noise]).astype(np.float32)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
        found = np.concatenate([labels[repeats], random.integers(0, classes, len(noise))])
        if random.random() < 0.15:
            boxes, found = boxes[:0], found[:0]
        scores = random.choice(random.random(6).astype(np.float32), len(boxes))
        predictions.append(
            Detections(torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(found.astype(np.int64)))
        )
    return predictions, truths


def pycocotools_curves(predictions: list[Detections], truths: list[Truth], classes: int):
    """pycocotools on the same boxes, in the widths and heights that float32 corners have in float64."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def xywh(box: np.ndarray) -> list[float]:
        x1, y1, x2, y2 = (float(v) for v in box)
        return [x1, y1, x2 - x1, y2 - y1]

    annotations, results = [], []
    for prediction, truth in zip(predictions, truths, strict=True):
        boxes = truth.boxes
        annotations += [
            {"id": len(annotations) + i + 1, "image_id": truth.image_id, "category_id": int(boxes.labels[i]) + 1,
             "bbox": xywh(boxes.xyxy[i]), "iscrowd": int(boxes.crowd[i]), "area": float(boxes.area[i])}
            for i in range(boxes.count)
        ]  # fmt: skip
        results += [
            {"image_id": truth.image_id, "category_id": int(label) + 1, "bbox": xywh(box), "score": float(score)}
            for box, score, label in zip(*(field.numpy() for field in prediction), strict=True)
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": t.image_id, "width": 640, "height": 480} for t in truths],
            "annotations": annotations,
            "categories": [{"id": i + 1, "name": str(i)} for i in range(classes)],
        }
        coco.createIndex()
        found = coco.loadRes(results) if results else COCO()
        if not results:
            found.dataset = {"images": coco.dataset["images"], "annotations": [], "categories": []}
            found.createIndex()
        reference = COCOeval(coco, found, "bbox")
        reference.params.imgIds = sorted(t.image_id for t in truths)
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    return reference


def evaluate(predictions: list[Detections], truths: list[Truth], names: list[str] = NAMES) -> CocoEvaluator:
    evaluator = CocoEvaluator(names)
    evaluator.update(predictions, truths)
    return evaluator


def assert_equal_to_pycocotools(evaluator: CocoEvaluator, reference) -> None:
    curves = evaluator.curves()
    np.testing.assert_allclose(curves.precision, reference.eval["precision"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(curves.recall, reference.eval["recall"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(curves.scores, reference.eval["scores"], rtol=0, atol=1e-12)
    numbers = evaluator.compute()
    for name, expected in zip(LINES, reference.stats, strict=True):
        assert (-1 if numbers[name] is None else numbers[name]) == pytest.approx(expected, abs=1e-12), name


@pytest.mark.parametrize("seed", range(60))
def test_equal_to_pycocotools(seed: int) -> None:
    predictions, truths = random_set(seed)
    assert_equal_to_pycocotools(evaluate(predictions, truths), pycocotools_curves(predictions, truths, 5))


def test_equal_to_pycocotools_beyond_a_hundred_detections() -> None:
    random = np.random.default_rng(7)
    xyxy = np.tile(np.array([[10, 10, 60, 60]], np.float32), (3, 1)) + np.array([[0], [60], [120]], np.float32)
    truth = Truth("x", 1, (480, 640), boxes=Boxes.of(xyxy, [0, 0, 1]))
    boxes = np.repeat(xyxy, 80, axis=0) + random.integers(-5, 6, (240, 4)).astype(np.float32)
    labels = np.repeat([0, 0, 1], 80)
    detections = Detections(
        torch.from_numpy(boxes), torch.from_numpy(random.random(240).astype(np.float32)), torch.from_numpy(labels)
    )
    assert_equal_to_pycocotools(evaluate([detections], [truth]), pycocotools_curves([detections], [truth], 5))


def test_small_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions, truths = random_set(3, images=30)
    whole = evaluate(predictions, truths).curves()
    monkeypatch.setattr(average_precision, "DETECTIONS_AT_ONCE", 7)
    monkeypatch.setattr(box_pairs, "PAIRS_AT_ONCE", 5)
    for one, other in zip(whole, evaluate(predictions, truths).curves(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seed", range(5))
def test_split_and_order_change_nothing(seed: int) -> None:
    predictions, truths = random_set(seed)
    whole = evaluate(predictions, truths).curves()
    order = np.random.default_rng(seed).permutation(len(truths))
    parts = [CocoEvaluator(NAMES) for _ in range(3)]
    for place, index in enumerate(order):
        parts[place % 3].update([predictions[index]], [truths[index]])
    merged = CocoEvaluator(NAMES)
    for part in reversed(parts):
        merged.merge(part.state())
    for one, other in zip(whole, merged.curves(), strict=True):
        np.testing.assert_array_equal(one, other)


def perfect(truth: Truth) -> Detections:
    return Detections(
        torch.from_numpy(truth.boxes.xyxy), torch.ones(truth.boxes.count), torch.from_numpy(truth.boxes.labels)
    )


def empty() -> Detections:
    return Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


def test_truth_against_itself_is_perfect_and_nothing_found_is_zero() -> None:
    truth = Truth("x", 1, (100, 100), boxes=Boxes.of([[0, 0, 10, 10], [20, 20, 90, 90]], [0, 1]))
    numbers = evaluate([perfect(truth)], [truth]).compute()
    for name in ("AP", "AP/a", "AP/b", "AR100"):
        assert numbers[name] == pytest.approx(1.0, abs=1e-12)
    assert numbers["AP/c"] is None
    assert numbers["APl"] is None
    nothing = evaluate([empty()], [truth]).compute()
    assert nothing["AP"] == nothing["AP/a"] == nothing["AR1"] == 0.0
    assert nothing["AP/c"] is None


def test_no_truth_at_all_is_undefined() -> None:
    truth = Truth("x", 1, (100, 100), boxes=Boxes.of(np.zeros((0, 4)), []))
    found = Detections(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([0.9]), torch.tensor([0]))
    assert set(evaluate([found], [truth]).compute().values()) == {None}
    assert CocoEvaluator(NAMES).compute()["AP"] is None


def test_difficult_boxes_neither_reward_nor_punish() -> None:
    boxes = Boxes.of([[0, 0, 10, 10], [20, 20, 90, 90]], [0, 0])
    spared = Truth("x", 1, (100, 100), boxes=boxes._replace(difficult=np.array([False, True])))
    three = Detections(
        torch.tensor([[20.0, 20, 90, 90], [20, 20, 90, 89], [0, 0, 10, 10]]),
        torch.tensor([0.9, 0.8, 0.7]),
        torch.zeros(3, dtype=torch.int64),
    )
    assert evaluate([three], [spared]).compute()["AP"] == pytest.approx(1.0)
    assert evaluate([three], [spared._replace(boxes=boxes)]).compute()["AP"] < 0.9
    missed = Detections(*(field[2:] for field in three))
    assert evaluate([missed], [spared]).compute()["AP"] == pytest.approx(1.0)


def test_tables_show_twelve_lines_and_every_class() -> None:
    predictions, truths = random_set(0)
    evaluator = evaluate(predictions, truths)
    familiar, classes = evaluator.tables()
    assert [row[0] for row in familiar[2]] == LINES
    assert familiar[2][0][-1] == f"{100 * evaluator.compute()['AP']:.2f}"
    assert [row[0] for row in classes[2]] == NAMES
    assert all(len(row) == len(table[1]) for table in (familiar, classes) for row in table[2])


def test_refuses_what_it_cannot_score() -> None:
    truth = Truth("x.jpg", 1, (100, 100), boxes=Boxes.of([[0, 0, 10, 10]], [0]))
    evaluator = CocoEvaluator(["a"])
    with pytest.raises(DataError, match=r"x\.jpg.*no boxes"):
        evaluator.update([empty()], [truth._replace(boxes=None)])
    with pytest.raises(DataError, match="label maps"):
        evaluator.update([LabelMap(torch.zeros(1, 1))], [truth])
    with pytest.raises(DataError, match=r"predicted label 1.*1 classes"):
        evaluator.update([Detections(torch.zeros(1, 4), torch.ones(1), torch.tensor([1]))], [truth])
    with pytest.raises(DataError, match="not finite"):
        evaluator.update([Detections(torch.zeros(1, 4), torch.tensor([np.nan]), torch.tensor([0]))], [truth])
    evaluator.update([empty()], [truth])
    evaluator.update([empty()], [truth])
    with pytest.raises(DataError, match="twice"):
        evaluator.compute()


@pytest.mark.parametrize("split", ["train", "val"])
def test_real_truth_against_shaken_truth_equals_pycocotools(real_data, split: str) -> None:
    path: Path = real_data("coco_yolo_mini") / "annotations" / f"instances_{split}2017_from_panoptic.json"
    content = json.loads(path.read_text())
    ids = sorted(category["id"] for category in content["categories"])
    random = np.random.default_rng(0)
    truths, predictions = [], []
    for image in content["images"]:
        own = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        xyxy = np.array([a["bbox"] for a in own], np.float32).reshape(-1, 4)
        xyxy[:, 2:] += xyxy[:, :2]
        labels = np.array([ids.index(a["category_id"]) for a in own], np.int64)
        boxes = Boxes(
            xyxy,
            labels,
            np.array([a["iscrowd"] for a in own], bool),
            np.zeros(len(own), bool),
            np.array([a["area"] for a in own], np.float32),
        )
        truths.append(Truth(image["file_name"], image["id"], (image["height"], image["width"]), boxes=boxes))
        shaken = np.concatenate([xyxy + random.normal(0, 3, xyxy.shape).astype(np.float32) for _ in range(3)])
        shaken[:, 2:] = np.maximum(shaken[:, 2:], shaken[:, :2])
        predictions.append(
            Detections(
                torch.from_numpy(shaken),
                torch.from_numpy(random.random(len(shaken)).astype(np.float32)),
                torch.from_numpy(np.tile(labels, 3)),
            )
        )
    assert any(t.boxes.crowd.any() for t in truths)
    evaluator = evaluate(predictions, truths, [str(i) for i in ids])
    assert_equal_to_pycocotools(evaluator, pycocotools_curves(predictions, truths, len(ids)))
