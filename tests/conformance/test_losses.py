"""Every registered loss keeps the promises of `PixelLoss`."""

from __future__ import annotations

import inspect

import pytest
import torch

import toolkit.losses  # noqa: F401  registers
from toolkit.contracts import LOSSES
from toolkit.errors import ConfigError, DataError
from toolkit.losses.cross_entropy import CrossEntropy
from toolkit.losses.overlap import Dice

CLASSES = 4
ARGUMENTS: dict[str, list[dict]] = {
    "cross_entropy": [
        {},
        {"class_weights": [1.0, 2.0, 0.5, 3.0]},
        {"class_weights": [1.0, 2.0, 0.5, 3.0], "normalise": "pixels", "label_smoothing": 0.1},
    ],
    "dice": [{}, {"classes": "all"}, {"smooth": 0.0}, {"classes": "all", "smooth": 0.0}],
    "focal": [{}, {"alpha": 0.25, "class_weights": [1.0, 2.0, 0.5, 3.0]}, {"ignore_background": True}],
    "jaccard": [{}, {"classes": "all", "ignore_background": True}, {"class_weights": [1.0, 2.0, 0.5, 3.0]}],
    "tversky": [{}, {"alpha": 0.3, "beta": 0.7, "gamma": 0.75}, {"gamma": 1.5, "smooth": 0.0}],
    "lovasz": [{}, {"per_image": True}, {"ignore_background": True}, {"class_weights": [1.0, 2.0, 0.5, 3.0]}],
    "ohem": [{"min_kept": 20}, {"threshold": 1.0, "min_kept": 1}],
    "weighted_sum": [{"losses": [CrossEntropy(), Dice()], "weights": [1.0, 0.5]}],
}
"""What a loss is built with; one that is not here is built without arguments."""

CASES = [
    pytest.param(name, arguments, id=f"{name}-{i}")
    for name in LOSSES.names()
    for i, arguments in enumerate(ARGUMENTS.get(name, [{}]))
]


def build(name, arguments):
    return LOSSES.find(name)(**arguments)


def problem(ignored=0.2):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(3, CLASSES, 8, 9, generator=generator) * 3
    labels = torch.randint(CLASSES, (3, 8, 9), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = 255
    return logits.requires_grad_(), labels


def test_there_are_losses():
    assert len(CASES) >= 8


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_finite_positive_float32_scalar_that_training_lowers(name, arguments):
    loss, (logits, labels) = build(name, arguments), problem()
    first = loss(logits, labels)
    assert first.shape == ()
    assert first.dtype == torch.float32
    assert torch.isfinite(first)
    assert first > 0
    (slope,) = torch.autograd.grad(first, logits)
    assert loss(logits - slope / slope.abs().max() * 0.1, labels) < first


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_ignored_pixels_have_no_gradient_and_no_influence(name, arguments):
    loss, (logits, labels) = build(name, arguments), problem()
    value = loss(logits, labels)
    (slope,) = torch.autograd.grad(value, logits)
    ignored = (labels == 255)[:, None].expand_as(slope)
    assert not slope[ignored].any()
    assert slope[~ignored].any()
    changed = torch.where(ignored, torch.full_like(logits, 7.0), logits)
    torch.testing.assert_close(loss(changed, labels), value)


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_everything_ignored_gives_zero_with_zero_gradients(name, arguments):
    loss, (logits, labels) = build(name, arguments), problem()
    value = loss(logits, torch.full_like(labels, 255))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_the_order_in_the_batch_changes_nothing(name, arguments):
    loss, (logits, labels) = build(name, arguments), problem()
    turned = torch.tensor([2, 0, 1])
    torch.testing.assert_close(loss(logits[turned], labels[turned]), loss(logits, labels))


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_half_precision_logits_are_computed_in_float32(name, arguments):
    loss, (logits, labels) = build(name, arguments), problem()
    rounded = logits.detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(rounded, labels)
    torch.testing.assert_close(found, loss(rounded.float(), labels), rtol=0, atol=0)


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_an_impossible_label_is_refused(name, arguments):
    loss, (logits, labels) = build(name, arguments), problem()
    labels[1, 0, 0] = CLASSES
    with pytest.raises(DataError, match=r"image 1 of the batch.*holds 4 \(1 pixels\)"):
        loss(logits, labels)


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_a_weight_map_multiplies_or_is_refused(name, arguments):
    loss, (logits, labels) = build(name, arguments), problem()
    try:
        doubled = loss(logits, labels, torch.full(labels.shape, 2.0))
    except ValueError as error:
        assert "weight map" in str(error)  # noqa: PT017  either answer keeps the contract
    else:
        torch.testing.assert_close(doubled, 2 * loss(logits, labels))


BINARY = [name for name, cls in LOSSES.items() if "mode" in inspect.signature(cls).parameters]
WEIGHTED = [name for name, cls in LOSSES.items() if "class_weights" in inspect.signature(cls).parameters]


@pytest.mark.parametrize("name", BINARY)
class TestBinary:
    def test_the_second_class_against_the_first(self, name):
        """It depends on the difference of the two logits alone, and training lowers it."""
        loss, (logits, labels) = build(name, {"mode": "binary"}), problem()
        labels = labels.where(labels == 255, labels % 2)
        two = logits[:, :2]
        value = loss(two, labels)
        torch.testing.assert_close(loss(two + logits[:, 2:3], labels), value)
        (slope,) = torch.autograd.grad(value, logits)
        assert loss((logits - slope / slope.abs().max() * 0.1)[:, :2], labels) < value

    def test_other_numbers_of_classes_are_refused(self, name):
        with pytest.raises(ConfigError, match="two classes, but the model has 4"):
            build(name, {"mode": "binary"})(*problem())


@pytest.mark.parametrize("name", WEIGHTED)
class TestClassWeights:
    def test_equal_weights_change_nothing(self, name):
        logits, labels = problem()
        torch.testing.assert_close(
            build(name, {"class_weights": [2.0] * CLASSES})(logits, labels), build(name, {})(logits, labels)
        )

    def test_a_weight_of_zero_leaves_the_class_out(self, name):
        """What is true of pixels of that class then makes no difference to the others' share."""
        logits, labels = problem(ignored=0)
        first = build(name, {"class_weights": [0.0, 1.0, 1.0, 1.0]})(logits, labels)
        second = build(name, {"class_weights": [1.0, 1.0, 1.0, 1.0]})(logits, labels)
        assert not torch.isclose(first, second)

    def test_another_number_of_weights_is_refused(self, name):
        with pytest.raises(ConfigError, match="class_weights has 2 numbers, but the model has 4 classes"):
            build(name, {"class_weights": [1.0, 2.0]})(*problem())


def test_an_image_without_labels_changes_nothing():
    """Of a batch: for every loss, the value is that of the other images, which is what the labels are worth."""
    for name, arguments in (case.values for case in CASES):
        logits, labels = problem()
        labels[1] = 255
        rest = torch.tensor([0, 2])
        loss = build(name, arguments)
        found, expected = loss(logits, labels), loss(logits[rest], labels[rest])
        torch.testing.assert_close(found, expected, msg=f"{name} {arguments}")
        assert found.shape == ()
