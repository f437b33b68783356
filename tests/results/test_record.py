"""A record comes back from disk as it was written, whatever the order in which its images came."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from toolkit.engine.evaluate import counted_rows
from toolkit.errors import DataError
from toolkit.evaluators.classification import ClassificationEvaluator
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.evaluators.dense_regression import DenseRegressionEvaluator
from toolkit.evaluators.regression import RegressionEvaluator
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.evaluators.voc import VocEvaluator
from toolkit.results.record import Record
from toolkit.samples import Boxes, Detections, ImageScores, ImageValues, LabelMap, Truth, ValueMap

NAMES = ["sky", "road", "car"]


def label_maps(count=7, seed=0):
    """Truths and predictions of several sizes; some pixels ignored, some without a class."""
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        size = (int(rng.integers(5, 9)), int(rng.integers(5, 9)))
        true, guess = (rng.choice([0, 1, 2, 255], size, p=[0.4, 0.3, 0.2, 0.1]).astype(np.uint8) for _ in range(2))
        pairs.append((LabelMap(torch.from_numpy(guess)), Truth(f"clip/{number}.png", number, size, true)))
    return pairs


def box_images(count=7, seed=0):
    """Truths and detections, some images without either."""
    rng = np.random.default_rng(seed)

    def boxes(number):
        corners = rng.integers(0, 40, (number, 2))
        return np.concatenate([corners, corners + rng.integers(4, 30, (number, 2))], 1).astype(np.float32)

    pairs = []
    for number in range(count):
        true, guessed = int(rng.integers(0, 4)), int(rng.integers(0, 6))
        found = Detections(
            torch.from_numpy(boxes(guessed)),
            torch.from_numpy(rng.random(guessed).astype(np.float32)),
            torch.from_numpy(rng.integers(0, 3, guessed)),
        )
        pairs.append(
            (
                found,
                Truth(f"{number}.jpg", 100 + number, (70, 70), boxes=Boxes.of(boxes(true), rng.integers(0, 3, true))),
            )
        )
    return pairs


def other_pairs(count=7, seed=0):
    """(scores and class, values with an unknown one, value maps with unknown pixels) of images."""
    rng = np.random.default_rng(seed)
    scores, values, maps = [], [], []
    for number in range(count):
        name = f"{number}.png"
        probabilities = ImageScores(torch.from_numpy(rng.random(3).astype(np.float32)))
        scores.append((probabilities, Truth(name, number, (8, 8), image_label=int(rng.integers(3)))))
        true = rng.random(3).astype(np.float32)
        true[0] = np.nan if number == 2 else true[0]
        guessed = ImageValues(torch.from_numpy(rng.random(3).astype(np.float32)))
        values.append((guessed, Truth(name, number, (8, 8), image_values=true)))
        depth = rng.random((8, 8)).astype(np.float32)
        depth[0, 0] = np.nan
        made = ValueMap(torch.from_numpy(rng.random((8, 8)).astype(np.float32)))
        maps.append((made, Truth(name, number, (8, 8), value_map=depth)))
    return scores, values, maps


MAKERS = {
    "classes": (lambda: [ClassificationEvaluator(NAMES)], lambda *count: other_pairs(*count)[0]),
    "values": (lambda: [RegressionEvaluator(NAMES)], lambda *count: other_pairs(*count)[1]),
    "maps": (lambda: [DenseRegressionEvaluator(["depth"])], lambda *count: other_pairs(*count)[2]),
    "semantic": (lambda: [SemanticEvaluator(NAMES)], label_maps),
    "boxes": (lambda: [CocoEvaluator(NAMES), VocEvaluator(NAMES)], box_images),
}


def rows_of(evaluators, pairs, batch=3):
    rows = []
    for start in range(0, len(pairs), batch):
        part = pairs[start : start + batch]
        rows += counted_rows(evaluators, [one for one, _ in part], [truth for _, truth in part])
    return rows


def assert_same(one, other):
    assert one.about == other.about
    assert one.numbers == other.numbers
    assert (one.images, one.groups, dict(one.tags)) == (other.images, other.groups, dict(other.tags))
    for name in ("image_ids", "sizes"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert list(one.arrays) == list(other.arrays)
    for name, array in one.arrays.items():
        assert array.dtype == other.arrays[name].dtype, name
        np.testing.assert_array_equal(array, other.arrays[name], name)


@pytest.mark.parametrize("kind", MAKERS)
def test_rows_count_what_update_counts_and_make_the_numbers_of_any_part(kind):
    make, pairs = MAKERS[kind][0], MAKERS[kind][1]()
    counting, updated = make(), make()
    record = Record.of(rows_of(counting, pairs), {"classes": NAMES})
    for evaluator in updated:
        evaluator.update([one for one, _ in pairs], [truth for _, truth in pairs])
    for counted, plain in zip(counting, updated, strict=True):
        assert counted.compute() == plain.compute()
    some = [4, 1, 5]
    for evaluator, part in zip(make(), make(), strict=True):
        evaluator.merge(record.take(some).arrays)
        part.update([pairs[place][0] for place in some], [pairs[place][1] for place in some])
        assert evaluator.compute() == part.compute()


@pytest.mark.parametrize("kind", MAKERS)
def test_it_is_the_same_for_any_order_batches_and_shares_of_processes(kind, tmp_path):
    make, pairs = MAKERS[kind][0], MAKERS[kind][1](12)
    whole = Record.of(rows_of(make(), pairs), {"classes": NAMES})
    assert whole.images[-1].endswith(("11.png", "11.jpg"))  # by number, not by letter
    shares = [rows_of(make(), pairs[rank::3], batch=1) for rank in range(3)]
    other = Record.of([row for share in reversed(shares) for row in share], {"classes": NAMES})
    assert_same(whole, other)
    for folder, record in (("one", whole), ("other", other)):
        record.write(tmp_path / folder)
    for name in ("metrics.json", "record.npz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


@pytest.mark.parametrize("kind", MAKERS)
def test_it_comes_back_from_disk(kind, tmp_path):
    make, pairs = MAKERS[kind][0], MAKERS[kind][1]()
    record = Record.of(rows_of(make(), pairs), {"classes": NAMES, "task": kind})
    record = record.with_numbers(metrics={"mIoU": 1 / 3, "AP": None})
    assert_same(record, Record.read(_written(record, tmp_path)))
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"] == {"mIoU": 1 / 3, "AP": None}


def _written(record, folder):
    record.write(folder)
    return folder


def test_matrices_of_images_are_what_the_evaluator_adds_up():
    evaluator = SemanticEvaluator(NAMES)
    record = Record.of(rows_of([evaluator], label_maps()), {"classes": NAMES})
    assert record.confusion.shape == (7, 3, 4)
    assert record.confusion.sum(2).all(1).any()
    assert np.array_equal(record.confusion.sum(0), evaluator.confusion)
    right, true, predicted = record.class_pixels.transpose(1, 0, 2)
    assert np.array_equal(right, np.diagonal(record.confusion, axis1=1, axis2=2))
    assert np.array_equal(true, record.confusion.sum(2))
    assert np.array_equal(predicted, record.confusion[:, :, :-1].sum(1))


def test_a_damaged_or_mixed_record_is_refused_by_name(tmp_path):
    record = Record.of(rows_of([SemanticEvaluator(NAMES)], label_maps()), {"classes": NAMES})
    one, other = _written(record, tmp_path / "one"), _written(record.take([0, 1]), tmp_path / "other")
    (one / "record.npz").write_bytes((other / "record.npz").read_bytes())
    with pytest.raises(DataError, match=r"another record\.npz"):
        Record.read(one)
    (other / "metrics.json").write_text("{")
    with pytest.raises(DataError, match=r"metrics\.json"):
        Record.read(other)
    with pytest.raises(DataError, match="toolkit evaluate"):
        Record.read(tmp_path / "none")


def test_an_image_that_comes_twice_is_refused():
    pairs = label_maps(2)
    with pytest.raises(DataError, match=r"0\.png.*twice"):
        Record.of(rows_of([SemanticEvaluator(NAMES)], [*pairs, pairs[0]]), {"classes": NAMES})
