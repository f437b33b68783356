from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.evaluators.boundary import BoundaryEvaluator, boundary_numbers
from toolkit.samples import LabelMap, Truth

NAMES = ["ground", "left", "right"]


def evaluate(pairs: list[tuple[np.ndarray, np.ndarray]], **arguments) -> BoundaryEvaluator:
    evaluator = BoundaryEvaluator(NAMES, **arguments)
    for number, (truth, guess) in enumerate(pairs):
        evaluator.update([LabelMap(torch.from_numpy(guess))], [Truth(f"{number}.png", number, truth.shape, truth)])
    return evaluator


def halves(width: int, left: int, label: int = 1) -> np.ndarray:
    """One class on the left, class 2 on the right, 10 pixels high."""
    labels = np.full((10, width), 2, np.uint8)
    labels[:, :left] = label
    return labels


def test_bf_by_hand() -> None:
    same = (halves(20, 10), halves(20, 10))
    moved = (halves(20, 10), halves(20, 14))  # 4 pixels off, at a tolerance of less than one
    both_ways = np.where(np.arange(20) % 10 < 5, np.uint8(1), np.uint8(2))[None].repeat(10, 0)
    doubled = (halves(20, 5), both_ways)  # the true boundary is found, and two others are drawn
    numbers = evaluate([same, moved, doubled]).compute()
    f = 2 * (1 / 3) / (1 + 1 / 3)  # precision one third, recall 1
    assert numbers["BF/left"] == pytest.approx((1 + 0 + f) / 3)
    assert numbers["BF"] == pytest.approx((1 + 0 + f) / 3)
    assert numbers["BF/ground"] is None
    assert evaluate([same, same]).compute()["BF"] == 1


def test_a_class_counts_where_it_is_true_or_also_where_it_is_predicted() -> None:
    truth = halves(20, 10)
    guess = truth.copy()
    guess[4:6, 2:4] = 0
    strict, loose = (evaluate([(truth, guess)], present=present).compute() for present in ("truth", "either"))
    assert strict["BF/ground"] is None
    assert loose["BF/ground"] == 0
    assert loose["BF"] == pytest.approx(strict["BF"] * 2 / 3)


def test_no_boundary_is_no_number_and_a_missed_one_is_zero() -> None:
    plain = np.zeros((10, 20), np.uint8)
    assert evaluate([(plain, plain)]).compute()["BF"] is None
    assert evaluate([(plain, halves(20, 10, label=0))]).compute()["BF"] == 0
    assert evaluate([(halves(20, 10), plain)]).compute()["BF"] == 0


def test_boundary_iou_is_of_all_images_together() -> None:
    pairs = [(halves(20, 10), halves(20, 10)), (halves(60, 30), halves(60, 35))]
    evaluator = evaluate(pairs)
    inside, either = evaluator.state()["boundary_bands"].sum(0)[1]
    assert evaluator.compute()["bIoU/left"] == pytest.approx(inside / either)
    assert evaluator.compute()["bIoU"] == pytest.approx(evaluator.compute()["bIoU/left"], abs=0.2)


def test_rows_of_some_images_make_their_numbers_and_weights_repeat_images() -> None:
    random = np.random.default_rng(0)
    pairs = [(halves(30, int(a)), halves(30, int(b))) for a, b in random.integers(3, 27, (8, 2))]
    whole = evaluate(pairs, tolerance=0.1)
    some = BoundaryEvaluator(NAMES)
    some.merge({name: array[[0, 3, 3]] for name, array in whole.state().items()})
    repeated = evaluate([pairs[0], pairs[3], pairs[3]], tolerance=0.1)
    assert some.compute() == repeated.compute()
    weights = np.array([[1, 1, 1, 1, 1, 1, 1, 1], [1, 0, 0, 2, 0, 0, 0, 0]])
    numbers = boundary_numbers(whole.state(), weights)
    for name in ("BF", "bIoU"):
        expected = [whole.compute()[name], repeated.compute()[name]]
        np.testing.assert_allclose(numbers[name], expected, rtol=1e-12)
    assert numbers["BF/class"].shape == (2, 3)


def test_excluded_classes_are_in_no_mean() -> None:
    truth, guess = halves(20, 10), halves(20, 10)
    guess[4:6, 9] = 0
    truth[:5, 0] = 0
    evaluator = evaluate([(truth, guess)])
    evaluator.exclude(["ground"])
    numbers = evaluator.compute()
    assert numbers["BF/ground"] == 0
    assert numbers["BF"] == pytest.approx((numbers["BF/left"] + numbers["BF/right"]) / 2)
    assert numbers["bIoU"] == pytest.approx((numbers["bIoU/left"] + numbers["bIoU/right"]) / 2)
