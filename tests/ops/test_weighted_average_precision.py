"""AP at weights of images is AP of a data set in which the images stand as often."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.ops import native, weighted_average_precision
from toolkit.ops.average_precision import DetectionTable, TruthTable, class_matches, coco_precision_recall
from toolkit.ops.voc_average_precision import VocStyle, voc_curve, voc_matches
from toolkit.ops.weighted_average_precision import WeightedClass, WeightedVocClass

IMAGES, CLASSES, LIMITS = 12, 3, (1, 3, 5)


def tables(seed: int) -> tuple[TruthTable, DetectionTable]:
    """Boxes of all sizes, crowds, ignored ones, missed and doubled ones; many equal scores, in images and between them."""
    rng = np.random.default_rng(seed)
    truths, found = int(rng.integers(1, 60)), int(rng.integers(0, 120))
    xywh = np.concatenate([rng.random((truths, 2)) * 200, np.exp(rng.normal(3.5, 1, (truths, 2)))], 1)
    crowd = rng.random(truths) < 0.1
    ignored = crowd | (rng.random(truths) < 0.1)
    images = rng.integers(0, IMAGES, truths)
    labels = rng.integers(0, CLASSES, truths)
    near = rng.integers(0, truths, found)
    moved = xywh[near] * rng.uniform(0.8, 1.2, (found, 4))
    of = np.where(rng.random(found) < 0.9, images[near], rng.integers(0, IMAGES, found))
    scores = rng.integers(0, (4, 20, 10_000)[seed % 3], found) / 10_000
    table = TruthTable(images, labels, xywh, crowd, ignored, ignored, xywh[:, 2] * xywh[:, 3])
    return table, DetectionTable(of, np.where(rng.random(found) < 0.9, labels[near], 0), moved, scores)


def repeated(truths: TruthTable, found: DetectionTable, weights: np.ndarray) -> tuple[TruthTable, DetectionTable]:
    """Every image as often as its weight says, copies one behind the other."""
    order = np.repeat(np.arange(IMAGES), weights)
    parts = []
    for table in (truths, found):
        rows = [np.flatnonzero(table.images == image) for image in order]
        images = np.repeat(np.arange(len(order)), [len(row) for row in rows])
        flat = np.concatenate([*rows, np.zeros(0, np.int64)]).astype(np.int64)
        parts.append(type(table)(images, *(field[flat] for field in table[1:])))
    return parts[0], parts[1]


@pytest.mark.parametrize("way", ["kernel", "numpy"])
@pytest.mark.parametrize("seed", range(30))
def test_equals_the_evaluation_of_repeated_images(seed: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "kernel" and native.compiler() is None:
        pytest.skip("no C compiler here")
    if way == "numpy":
        monkeypatch.setattr(weighted_average_precision, "compile_c", lambda source: None)
    truths, found = tables(seed)
    weights = np.random.default_rng(seed).multinomial(IMAGES, np.full(IMAGES, 1 / IMAGES), 6)
    weights[0] = 1
    alone = np.arange(IMAGES)
    classes = [WeightedClass(m, alone, LIMITS, IMAGES) for m in class_matches(truths, found, CLASSES, limit=LIMITS[-1])]
    for row, weight in enumerate(weights):
        curves = coco_precision_recall(*repeated(truths, found, weight), CLASSES, limits=LIMITS)
        for label, ready in enumerate(classes):
            expected = curves.precision[:, :, label, :, -1].mean(axis=1).T  # areas, thresholds
            ours = ready.precision(weights.astype(np.int32))[row]
            np.testing.assert_allclose(np.nan_to_num(ours, nan=-1), expected, rtol=0, atol=1e-12)
            recall = curves.recall[:, label].mean(axis=0)
            expected = np.concatenate([recall[0], recall[1:, -1]])
            ours = ready.recall(weights)[row]
            np.testing.assert_allclose(np.nan_to_num(ours, nan=-1), expected, rtol=0, atol=1e-12)


def test_images_of_a_group_count_together() -> None:
    truths, found = tables(3)
    groups = np.arange(IMAGES) // 4
    of_groups = np.array([[2, 0, 1], [1, 1, 1]], np.int32)
    for matches in class_matches(truths, found, CLASSES, limit=LIMITS[-1]):
        by_group = WeightedClass(matches, groups, LIMITS, 3).precision(of_groups)
        by_image = WeightedClass(matches, np.arange(IMAGES), LIMITS, IMAGES).precision(of_groups[:, groups])
        np.testing.assert_array_equal(by_group, by_image)


@pytest.mark.parametrize("style", ["area", "11_points"])
@pytest.mark.parametrize("seed", range(12))
def test_voc_equals_the_evaluation_of_repeated_images(seed: int, style: VocStyle) -> None:
    truths, found = tables(seed)
    weights = np.random.default_rng(seed).multinomial(IMAGES, np.full(IMAGES, 1 / IMAGES), 6)
    for label in range(CLASSES):
        ready = WeightedVocClass(voc_matches(truths, found, label), np.arange(IMAGES), style, IMAGES)
        for weight, ours in zip(weights, ready.precision(weights.astype(np.int32)), strict=True):
            expected = voc_curve(*repeated(truths, found, weight), label, style).ap
            assert (None if np.isnan(ours) else ours) == pytest.approx(expected, abs=1e-12)
