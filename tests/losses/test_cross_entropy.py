from __future__ import annotations

import pickle

import pytest
import torch
from torch.nn import functional as F

from toolkit.errors import ConfigError
from toolkit.losses.cross_entropy import CrossEntropy
from toolkit.losses.labels import LabelError


def problem(classes=5, size=(2, 6, 7)):
    logits = torch.randn(size[0], classes, *size[1:], requires_grad=True)
    labels = torch.randint(classes, size)
    labels[torch.rand(size) < 0.2] = 255
    return logits, labels


WEIGHTS = [0.5, 2.0, 1.0, 0.0, 3.0]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_torch_with_its_gradient(weights, smoothing):
    logits, labels = problem()
    factors = None if weights is None else torch.tensor(weights)
    expected = F.cross_entropy(logits, labels, factors, ignore_index=255, label_smoothing=smoothing)
    found = CrossEntropy(weights, label_smoothing=smoothing)(logits, labels)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, logits, retain_graph=True), torch.autograd.grad(expected, logits)
    )


def test_segnets_divisor_is_the_number_of_pixels():
    # Uniform logits over 11 classes, one pixel of class 0 and one of class 6: caffe-segnet gives
    # ln(11) (0.2595 + 9.6446) / 2 = 11.8745, PyTorch's divisor ln(11) = 2.3979.
    logits, labels = torch.zeros(1, 11, 1, 2), torch.tensor([[[0, 6]]])
    assert CrossEntropy("camvid_segnet", "pixels")(logits, labels).item() == pytest.approx(11.8745, abs=5e-5)
    assert CrossEntropy("camvid_segnet", "weights")(logits, labels).item() == pytest.approx(2.3979, abs=5e-5)


@pytest.mark.parametrize("normalise", ["weights", "pixels"])
def test_a_weight_map_multiplies_terms_and_not_the_divisor(normalise):
    logits, labels = problem()
    loss = CrossEntropy(WEIGHTS, normalise)
    weight_map = torch.rand(labels.shape) * 3
    terms = F.cross_entropy(logits, labels, torch.tensor(WEIGHTS), ignore_index=255, reduction="none")
    divisor = torch.tensor(WEIGHTS)[labels[labels != 255]].sum() if normalise == "weights" else (labels != 255).sum()
    torch.testing.assert_close(loss(logits, labels, weight_map), (terms * weight_map).sum() / divisor)
    torch.testing.assert_close(loss(logits, labels, torch.ones_like(weight_map)), loss(logits, labels))


def test_only_pixels_of_weight_zero_give_zero():
    logits, labels = torch.randn(1, 5, 2, 2, requires_grad=True), torch.full((1, 2, 2), 3)
    loss = CrossEntropy(WEIGHTS)(logits, labels)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_float32_under_autocast():
    logits, labels = problem()
    logits = logits.detach() * 8
    with torch.autocast("cpu", torch.bfloat16):
        found = CrossEntropy()(logits.bfloat16(), labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, CrossEntropy()(logits.bfloat16().float(), labels), rtol=0, atol=0)


def test_an_impossible_label_is_named():
    logits, labels = torch.zeros(3, 5, 4, 4), torch.zeros(3, 4, 4, dtype=torch.long)
    labels[1, 0, :3] = 30
    labels[2, 0, 0] = 5
    with pytest.raises(LabelError) as caught:
        CrossEntropy()(logits, labels)
    text = str(caught.value)
    assert "image 1 of the batch: its label map holds 30 (3 pixels), but labels are 0..4, or 255" in text
    assert "image 2 of the batch: its label map holds 5 (1 pixels)" in text
    named = pickle.loads(pickle.dumps(caught.value)).named(("a.png", "b.png", "c.png"))
    assert [p.where for p in named.problems] == ["b.png", "c.png"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("camvid_segnt", "did you mean 'camvid_segnet'"),
        ("median_frequency", "computed from the training set first"),
        ([1.0, -1.0], "not negative"),
        ([0.0, 0.0], "not all zero"),
        ([], "not all zero"),
    ],
)
def test_wrong_class_weights_are_refused(weights, message):
    with pytest.raises(ConfigError, match=message):
        CrossEntropy(weights)


def test_a_wrong_number_of_class_weights_names_both_numbers():
    with pytest.raises(ConfigError, match="2 numbers, but the model has 5 classes"):
        CrossEntropy([1.0, 2.0])(*problem())


def test_labels_of_another_size_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        CrossEntropy()(torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 4, dtype=torch.long))


def test_class_weights_move_with_the_module_but_are_no_part_of_a_checkpoint():
    loss = CrossEntropy(WEIGHTS).to("meta")
    assert loss.class_weights.device.type == "meta"
    assert not loss.state_dict()
