from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassConfusionMatrix

from toolkit.ops.confusion import confusion_matrix, count_labels, count_pairs


def maps(rng, classes, size=(61, 83), ignored=0.1):
    truth = rng.integers(0, classes, size).astype(np.uint8)
    truth[rng.random(size) < ignored] = 255
    return truth, rng.integers(0, classes, size).astype(np.uint8)


@pytest.mark.parametrize("classes", [1, 2, 19, 255])
def test_equals_torchmetrics(classes):
    truth, prediction = maps(np.random.default_rng(classes), classes)
    found = confusion_matrix(truth, prediction, classes)
    assert found.dtype == np.int64
    if classes > 1:
        other = MulticlassConfusionMatrix(classes, ignore_index=255)
        expected = other(torch.from_numpy(prediction).long(), torch.from_numpy(truth).long()).numpy()
        assert np.array_equal(found[:, :classes], expected)
    assert not found[:, classes].any()
    assert found.sum() == (truth != 255).sum()


def test_pixels_without_an_answer_are_wrong_not_dropped():
    truth = np.array([[0, 1, 1, 255]], np.uint8)
    prediction = np.array([[255, 1, 255, 255]], np.uint8)
    assert confusion_matrix(truth, prediction, 2).tolist() == [[0, 0, 1], [0, 1, 1]]


def test_impossible_labels_and_sizes_are_refused():
    good, bad = np.zeros((2, 3), np.uint8), np.full((2, 3), 7, np.uint8)
    with pytest.raises(ValueError, match=r"truth holds labels outside 0..2: 7 \(6 pixels\)"):
        confusion_matrix(bad, good, 3)
    with pytest.raises(ValueError, match=r"prediction holds labels outside 0..2: 7 \(6 pixels\)"):
        confusion_matrix(good, bad, 3)
    with pytest.raises(ValueError, match="differ in size"):
        confusion_matrix(good, good.T, 3)
    with pytest.raises(ValueError, match="uint8"):
        count_labels(good.astype(np.int64))


def test_a_predicted_label_under_an_ignored_pixel_does_not_matter():
    truth = np.array([[255, 0]], np.uint8)
    assert confusion_matrix(truth, np.array([[200, 0]], np.uint8), 1).tolist() == [[1, 0]]


def test_views_and_counts_beyond_float32():
    truth = np.zeros((4200, 4100), np.uint8)  # more than 2^24 pixels of one pair
    truth[0, 0] = 3
    pairs = count_pairs(truth, truth)
    assert pairs[0, 0] == truth.size - 1
    assert pairs[3, 3] == 1
    strided = np.arange(60, dtype=np.uint8).reshape(6, 10)[::2, 1::3]
    assert np.array_equal(count_labels(strided), np.bincount(strided.ravel(), minlength=256))


def test_equals_scikit_learn_on_a_thousand_maps() -> None:
    """Of 100 maps at a time, whose labels are told apart by adding ten for each: their matrices lie on the diagonal."""
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    random = np.random.default_rng(0)
    for _ in range(10):
        true, predicted, found = [], [], []
        for number in range(100):
            classes, shape = int(random.integers(1, 6)), tuple(random.integers(1, 9, 2))
            truth, prediction = random.integers(0, classes, (2, *shape)).astype(np.uint8)
            truth[random.random(shape) < random.choice([0, 0.2, 1])] = 255
            prediction[random.random(shape) < random.choice([0, 0.2])] = 255  # no class
            found.append(confusion_matrix(truth, prediction, classes))
            counted = truth != 255
            true.append(truth[counted].astype(int) + 10 * number)
            predicted.append(
                np.where(prediction[counted] == 255, classes, prediction[counted].astype(int)) + 10 * number
            )
        whole = metrics.confusion_matrix(np.concatenate(true), np.concatenate(predicted), labels=range(1000))
        for number, own in enumerate(found):
            first, classes = 10 * number, len(own)
            assert own.tolist() == whole[first : first + classes, first : first + classes + 1].tolist()
