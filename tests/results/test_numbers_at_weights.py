"""Numbers at weights of groups are what the evaluators compute of images that stand as often."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from test_record import NAMES, box_images, label_maps, other_pairs

from toolkit.contracts import Evaluator
from toolkit.engine.evaluate import counted_rows
from toolkit.evaluators.boundary import BoundaryEvaluator
from toolkit.evaluators.classification import ClassificationEvaluator
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.evaluators.dense_regression import DenseRegressionEvaluator
from toolkit.evaluators.em_segmentation import EmSegmentationEvaluator
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.evaluators.voc import VocEvaluator
from toolkit.results.bootstrap import Differences, Numbers, Together, draws
from toolkit.results.box_numbers import CocoNumbers, VocNumbers
from toolkit.results.evaluator_numbers import EvaluatorNumbers
from toolkit.results.image_rows import taken
from toolkit.results.intervals import numbers_of
from toolkit.results.pixel_numbers import PixelNumbers
from toolkit.results.record import Record

ABOUT = {"classes": NAMES}


def record_of(evaluator: Evaluator, pairs: Sequence) -> Record:
    predictions, truths = zip(*pairs, strict=True)
    return Record.of(counted_rows([evaluator], predictions, truths), ABOUT)


def evaluated(make: Callable[[], Evaluator], record: Record, weights: np.ndarray) -> dict[str, float | None]:
    """What the evaluator says of the record's images, each as often as its weight."""
    arrays = taken(record.arrays, np.repeat(np.arange(len(record)), weights))
    if "image_ids" in arrays:
        arrays["image_ids"] = np.arange(len(arrays["image_ids"]))
    evaluator = make()
    evaluator.merge(arrays)
    return evaluator.compute()


def pixel_numbers(record: Record, groups: np.ndarray) -> Numbers:
    return PixelNumbers(record.class_pixels, groups, record.classes)


def box_numbers(record: Record, groups: np.ndarray) -> Numbers:
    return CocoNumbers(record.arrays, groups, record.classes)


def voc_numbers(style: str) -> Callable[[Record, np.ndarray], Numbers]:
    return lambda record, groups: VocNumbers(record.arrays, groups, record.classes, style)


def own_numbers(make: Callable[[], Evaluator]) -> Callable[[Record, np.ndarray], Numbers]:
    """The numbers of an evaluator that has a quick way of its own."""

    def numbers(record: Record, groups: np.ndarray) -> Numbers:
        (weights,) = draws(len(record), 1)
        assert make().at_weights(record.arrays, weights) is not None
        return EvaluatorNumbers(make, record.arrays, groups)

    return numbers


OWN = {
    "classes": (lambda: ClassificationEvaluator(NAMES), lambda *count: other_pairs(*count)[0]),
    "maps": (lambda: DenseRegressionEvaluator(["depth"]), lambda *count: other_pairs(*count)[2]),
    "boundaries": (lambda: BoundaryEvaluator(NAMES), label_maps),
    "cells": (lambda: EmSegmentationEvaluator(NAMES), label_maps),
}
KINDS = {
    **{kind: (make, pairs, own_numbers(make)) for kind, (make, pairs) in OWN.items()},
    "pixels": (lambda: SemanticEvaluator(NAMES), label_maps, pixel_numbers),
    "voc": (lambda: VocEvaluator(NAMES), box_images, voc_numbers("area")),
    "voc 2007": (lambda: VocEvaluator(NAMES, "11_points"), box_images, voc_numbers("11_points")),
    "boxes": (lambda: CocoEvaluator(NAMES), box_images, box_numbers),
}


@pytest.mark.parametrize("kind", KINDS)
def test_equal_the_evaluator_on_repeated_images(kind: str) -> None:
    make, pairs, of = KINDS[kind]
    for seed in range(3):
        record = record_of(make(), pairs(14, seed))
        numbers = of(record, np.arange(14))
        (weights,) = draws(14, 8, seed)
        for row, found in zip(weights, numbers.at(weights), strict=True):
            expected = evaluated(make, record, row)
            assert set(numbers.names) == set(expected)
            ours = dict(zip(numbers.names, np.nan_to_num(found, nan=-1), strict=True))
            theirs = {name: -1.0 if value is None else value for name, value in expected.items()}
            assert ours == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_a_group_are_drawn_together(kind: str) -> None:
    make, pairs, of = KINDS[kind]
    record = record_of(make(), pairs(12))
    groups = np.arange(12) // 3
    (weights,) = draws(4, 5)
    by_image = of(record, np.arange(12)).at(weights[:, groups])
    np.testing.assert_allclose(of(record, groups).at(weights), by_image, rtol=1e-12)


def test_support_counts_the_groups_that_hold_a_class() -> None:
    right = np.zeros((6, 3, 2), np.int64)
    right[:, :, 0] = 5
    right[4:, :, 1] = 7  # only in two images, which are one group
    numbers = PixelNumbers(right, np.array([0, 1, 2, 3, 4, 4]), ["sky", "road"])
    support = dict(zip(numbers.names, numbers.support().tolist(), strict=True))
    assert (support["mIoU"], support["IoU/sky"], support["IoU/road"]) == (5, 5, 1)


def test_differences_and_joined_numbers_keep_names_and_order() -> None:
    record, other = (record_of(SemanticEvaluator(NAMES), label_maps(9, seed)) for seed in (0, 1))
    a, b = (PixelNumbers(r.class_pixels, np.arange(9), r.classes) for r in (record, other))
    (weights,) = draws(9, 4)
    difference = Differences(a, Together([b]))
    np.testing.assert_array_equal(difference.at(weights), b.at(weights) - a.at(weights))
    assert difference.names == a.names


@pytest.mark.parametrize("style", ["area", "11_points"])
def test_the_style_of_voc_is_found_by_the_number_that_was_measured(style: str) -> None:
    record = record_of(VocEvaluator(NAMES, style), box_images(14))
    measured = evaluated(lambda: VocEvaluator(NAMES, style), record, np.ones(14, int))
    numbers = numbers_of(record.with_numbers(metrics=measured))
    assert dict(zip(numbers.names, numbers.values().tolist(), strict=True)) == pytest.approx(measured)


def test_a_quick_way_of_an_evaluators_own_is_taken() -> None:
    class Quick(SemanticEvaluator):
        def at_weights(self, arrays, weights):
            return {name: weights @ np.arange(weights.shape[1]) for name in ("mIoU", "aAcc")}

    record = record_of(SemanticEvaluator(NAMES), label_maps(6))
    numbers = EvaluatorNumbers(lambda: Quick(NAMES), record.arrays, np.arange(6) // 2, ["mIoU"])
    (weights,) = draws(3, 4)
    np.testing.assert_array_equal(numbers.at(weights)[:, 0], weights @ np.array([1, 5, 9]))
