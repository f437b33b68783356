"""The voc evaluator against hand-worked cases and a second, plain implementation of the development kit's rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_coco_evaluator import NAMES, random_set

from toolkit.evaluators.voc import VocEvaluator
from toolkit.samples import Boxes, Detections, Truth


def devkit(predictions: list[Detections], truths: list[Truth], label: int, style: str, plus: float) -> float | None:
    """Loop over detections by score, as the kit's text describes it; slow on purpose."""
    rows = []
    objects: dict[int, list[list]] = {}
    for prediction, truth in sorted(zip(predictions, truths, strict=True), key=lambda pair: pair[1].image_id):
        spared = truth.boxes.difficult | truth.boxes.crowd
        objects[truth.image_id] = [
            [box.astype(float), bool(skip), False]
            for box, own, skip in zip(truth.boxes.xyxy, truth.boxes.labels, spared, strict=True)
            if own == label
        ]
        boxes, scores, labels = (field.numpy() for field in prediction)
        rows += [
            (float(scores[i]), truth.image_id, boxes[i].astype(float))
            for i in np.argsort(-scores, kind="stable")
            if labels[i] == label
        ]
    number = sum(not skip for found in objects.values() for _, skip, _ in found)
    if not number:
        return None
    rows.sort(key=lambda row: -row[0])
    true = false = 0
    curve = []
    for _, image, box in rows:
        best, winner = -1.0, None
        for entry in objects[image]:
            other = entry[0]
            width = min(box[2], other[2]) - max(box[0], other[0]) + plus
            height = min(box[3], other[3]) - max(box[1], other[1]) + plus
            if width > 0 and height > 0:
                sides = [(b[2] - b[0] + plus) * (b[3] - b[1] + plus) for b in (box, other)]
                overlap = width * height / (sides[0] + sides[1] - width * height)
                if overlap > best:
                    best, winner = overlap, entry
        if best >= 0.5:
            if not winner[1]:
                true, false = true + (not winner[2]), false + winner[2]
                winner[2] = True
        else:
            false += 1
        curve.append((true / number, true / (true + false) if true + false else 0.0))
    if style == "11_points":
        return sum(max([p for r, p in curve if r >= i / 10], default=0.0) for i in range(11)) / 11
    area, last = 0.0, 0.0
    for place, (recall, _) in enumerate(curve):
        area += (recall - last) * max(p for _, p in curve[place:])
        last = recall
    return area


@pytest.mark.parametrize("plus_one", [False, True])
@pytest.mark.parametrize("style", ["area", "11_points"])
@pytest.mark.parametrize("seed", range(8))
def test_equal_to_the_kit(seed: int, style: str, plus_one: bool) -> None:
    predictions, truths = random_set(seed)
    random = np.random.default_rng(seed)
    truths = [t._replace(boxes=t.boxes._replace(difficult=random.random(t.boxes.count) < 0.3)) for t in truths]
    evaluator = VocEvaluator(NAMES, style, plus_one)
    evaluator.update(predictions, truths)
    numbers = evaluator.compute()
    expected = [devkit(predictions, truths, label, style, float(plus_one)) for label in range(len(NAMES))]
    for name, ap in zip(NAMES, expected, strict=True):
        assert numbers[f"AP@0.5/{name}"] == (None if ap is None else pytest.approx(ap, abs=1e-12)), name
    assert numbers["mAP@0.5"] == pytest.approx(np.mean([ap for ap in expected if ap is not None]), abs=1e-12)


def detections(boxes: list[list[float]], scores: list[float]) -> Detections:
    return Detections(
        torch.tensor(boxes).reshape(-1, 4).float(), torch.tensor(scores), torch.zeros(len(boxes), dtype=torch.int64)
    )


def ap(style: str, found: Detections, boxes: Boxes) -> float | None:
    evaluator = VocEvaluator(["a"], style)
    evaluator.update([found], [Truth("x", 1, (100, 100), boxes=boxes)])
    return evaluator.compute()["AP@0.5/a"]


def test_worked_by_hand() -> None:
    boxes = Boxes.of([[0, 0, 10, 10], [50, 50, 60, 60]], [0, 0])
    # Right, doubled, nowhere, right: precision 1, 1/2, 1/3, 2/4 at recall 1/2, 1/2, 1/2, 1.
    found = detections(
        [[0, 0, 10, 10], [0, 0, 10, 9], [80, 80, 90, 90], [50, 50, 60, 60]],
        [0.9, 0.8, 0.7, 0.6],
    )
    assert ap("area", found, boxes) == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    assert ap("11_points", found, boxes) == pytest.approx((6 * 1 + 5 * 0.5) / 11)
    # The first box is difficult: its two detections do not count, and one true box remains.
    spared = boxes._replace(difficult=np.array([True, False]))
    assert ap("area", found, spared) == pytest.approx(0.5)
    assert ap("area", detections([], []), boxes) == 0.0
    assert ap("area", found, Boxes.of(np.zeros((0, 4)), [])) is None


def test_an_overlap_of_exactly_one_half_is_enough() -> None:
    assert ap("area", detections([[0, 0, 10, 5]], [0.9]), Boxes.of([[0, 0, 10, 10]], [0])) == 1.0
    assert ap("area", detections([[0, 0, 10, 4.9]], [0.9]), Boxes.of([[0, 0, 10, 10]], [0])) == 0.0


def test_split_and_order_change_nothing() -> None:
    predictions, truths = random_set(5)
    whole, left, right = (VocEvaluator(NAMES) for _ in range(3))
    whole.update(predictions, truths)
    left.update(predictions[::2], truths[::2])
    right.update(predictions[1::2][::-1], truths[1::2][::-1])
    right.merge(left.state())
    assert right.compute() == whole.compute()
    assert right.tables() == whole.tables()
