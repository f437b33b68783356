"""Every registered evaluator: one batch equals many, order changes nothing, merged states equal one evaluator's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import pytest
import torch

import toolkit.evaluators  # noqa: F401  registers
from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.errors import DataError
from toolkit.samples import Boxes, Detections, ImageScores, ImageValues, LabelMap, Prediction, Truth, ValueMap

CLASSES = ["one", "two", "three"]
SIZE = (24, 40)
Pairs = list[tuple[Prediction, Truth]]


def random_boxes(rng: np.random.Generator, number: int) -> np.ndarray:
    corner = rng.uniform(0, 20, (number, 2))
    return np.concatenate([corner, corner + rng.uniform(2, 20, (number, 2))], 1).astype(np.float32)


def one_pair(seed: int) -> tuple[dict[type, Prediction], Truth]:
    """An image's truth with every kind of annotation, and a prediction of every kind, sometimes right."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, SIZE).astype(np.uint8)
    guess = np.where(rng.random(SIZE) < 0.7, labels, 1).astype(np.uint8)
    labels[:2] = 255
    boxes = Boxes.of(random_boxes(rng, 4), rng.integers(0, 3, 4))
    found = np.concatenate([boxes.xyxy + rng.normal(0, 1, (4, 4)), random_boxes(rng, 3)]).astype(np.float32)
    values = rng.normal(size=SIZE).astype(np.float32)
    truth = Truth(f"{seed}.png", seed, SIZE, labels, boxes, int(rng.integers(3)), rng.normal(size=3), values)
    scores = np.sort(rng.random(7).astype(np.float32))[::-1].copy()
    predictions: list[Prediction] = [
        LabelMap(torch.from_numpy(guess)),
        Detections(
            torch.from_numpy(found),
            torch.from_numpy(scores),
            torch.from_numpy(np.concatenate([boxes.labels, rng.integers(0, 3, 3)])),
        ),
        ImageScores(torch.from_numpy(rng.random(3).astype(np.float32)).softmax(0)),
        ImageValues(torch.from_numpy(rng.normal(size=3).astype(np.float32))),
        ValueMap(torch.from_numpy(values + rng.normal(0, 0.1, SIZE).astype(np.float32))),
    ]
    return {type(prediction): prediction for prediction in predictions}, truth


def build(name: str) -> Evaluator:
    return EVALUATORS.find(name)(CLASSES)  # type: ignore[call-arg]


def pairs_for(name: str) -> Pairs:
    images = [one_pair(seed) for seed in range(6)]
    takes = EVALUATORS.find(name).takes
    kinds = [takes] if takes else list(images[0][0])
    for kind in kinds:
        pairs: Pairs = [(predictions[kind], truth) for predictions, truth in images]
        try:
            build(name).update([pairs[0][0]], [pairs[0][1]])
        except Exception:
            continue
        return pairs
    raise AssertionError(f"evaluator '{name}' takes none of the predictions")


def run(name: str, pairs: Pairs) -> Evaluator:
    evaluator = build(name)
    for prediction, truth in pairs:
        evaluator.update([prediction], [truth])
    return evaluator


def same(found: dict[str, float | None], expected: dict[str, float | None]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name] == (None if value is None else pytest.approx(value, abs=1e-9)), name


@pytest.mark.parametrize("name", EVALUATORS.names())
class TestEvaluator:
    def test_its_metric_is_among_its_numbers_which_are_fractions(self, name):
        numbers = run(name, pairs_for(name)).compute()
        assert numbers[EVALUATORS.find(name).metric] is not None
        assert any(value not in (None, 0.0, 1.0) for value in numbers.values())

    def test_one_batch_equals_many(self, name):
        pairs = pairs_for(name)
        whole = build(name)
        whole.update(*map(list, zip(*pairs, strict=True)))
        same(run(name, pairs).compute(), whole.compute())

    def test_order_changes_nothing(self, name):
        pairs = pairs_for(name)
        same(run(name, pairs[::-1]).compute(), run(name, pairs).compute())

    def test_merged_states_equal_one(self, name):
        pairs = pairs_for(name)
        first: Callable[[], Evaluator] = lambda: run(name, pairs[:2])  # noqa: E731
        merged, second = first(), run(name, pairs[2:])
        state = second.state()
        assert all(isinstance(array, np.ndarray) for array in state.values())
        merged.merge(state)
        same(merged.compute(), run(name, pairs).compute())
        same(second.compute(), run(name, pairs[2:]).compute())

    def test_computing_twice_or_in_between_changes_nothing(self, name):
        pairs = pairs_for(name)
        evaluator = run(name, pairs[:3])
        evaluator.compute()
        for prediction, truth in pairs[3:]:
            evaluator.update([prediction], [truth])
        evaluator.compute()
        same(evaluator.compute(), run(name, pairs).compute())

    def test_its_numbers_are_seen(self, name):
        """What decides which weights are best stands in a table, as it is shown while training."""
        evaluator = run(name, pairs_for(name))
        value = evaluator.compute()[evaluator.metric]
        cells = [cell for _, _, rows in evaluator.tables() for row in rows for cell in row]
        assert evaluator.shown(value) in cells or f"{value:.4f}" in cells

    def test_another_kind_of_prediction_is_refused(self, name):
        predictions, truth = one_pair(0)
        takes = EVALUATORS.find(name).takes
        for kind, prediction in predictions.items():
            if takes is not None and kind is not takes:
                with pytest.raises(DataError, match=f"evaluator '{name}' takes .*, but was given"):
                    build(name).update([prediction], [truth])

    def test_tables_are_rectangular_text(self, name):
        for title, header, rows in run(name, pairs_for(name)).tables():
            assert title
            assert rows
            assert all(len(row) == len(header) and all(isinstance(cell, str) for cell in row) for row in rows)

    def test_nothing_seen_gives_no_number_or_zero(self, name):
        assert build(name).compute()[EVALUATORS.find(name).metric] in (None, 0.0)


class Smallest(Evaluator):
    """An evaluator that keeps the written contract and no more: its numbers are errors, in a unit."""

    metric: ClassVar[str] = "error"
    larger_is_better: ClassVar[bool] = False
    percent: ClassVar[bool] = False

    def __init__(self, classes: list[str]) -> None:
        self.total = 0.0

    def update(self, predictions: Sequence[Prediction], truths: Sequence[Truth]) -> None:
        self.total += len(predictions)

    def state(self) -> dict[str, np.ndarray]:
        return {"total": np.array(self.total)}

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        self.total += float(state["total"])

    def compute(self) -> dict[str, float | None]:
        return {"error": self.total * 1.5, "other": None}


def test_without_tables_every_number_is_in_one():
    evaluator = Smallest(CLASSES)
    evaluator.update([one_pair(0)[0][LabelMap]], [one_pair(0)[1]])
    assert evaluator.tables() == [("Smallest", ["metric", "value"], [["error", "1.5"], ["other", "-"]])]


def test_smaller_is_better_where_the_evaluator_says_so():
    assert Smallest(CLASSES).better(1.0, 2.0)
    assert not Smallest(CLASSES).better(2.0, 1.0)
    semantic = EVALUATORS.find("semantic")(CLASSES)  # type: ignore[call-arg]
    assert semantic.better(2.0, 1.0)
    assert not semantic.better(1.0, 1.0)
