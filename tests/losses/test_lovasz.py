"""Lovász-softmax against segmentation-models-pytorch, and where that one has no answer."""

from __future__ import annotations

import pytest
import torch

from toolkit.losses.lovasz import Lovasz

losses = pytest.importorskip("segmentation_models_pytorch.losses")


def problem() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 4, 6, 7, generator=generator)
    labels = torch.randint(4, (3, 6, 7), generator=generator)
    labels[0, :2] = 255
    return logits.requires_grad_(), labels


@pytest.mark.parametrize("per_image", [False, True])
def test_equals_smps_value_and_gradient(per_image):
    logits, labels = problem()
    found = Lovasz(per_image)(logits, labels)
    expected = losses.LovaszLoss("multiclass", per_image, 255)(logits, labels)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, logits, retain_graph=True), torch.autograd.grad(expected, logits)
    )


def test_binary_is_the_hinge():
    logits, labels = problem()
    labels = labels.where(labels == 255, labels % 2)
    two = logits[:, :2]
    expected = losses.LovaszLoss("binary", False, 255)(two[:, 1:] - two[:, :1], labels[:, None].clone())
    torch.testing.assert_close(Lovasz(mode="binary")(two, labels), expected)


def test_per_image_is_the_mean_over_the_images_that_have_labels():
    logits, labels = problem()
    labels[1] = 255
    value = Lovasz(per_image=True)(logits, labels)
    assert value.shape == ()
    alone = [Lovasz()(logits[i : i + 1], labels[i : i + 1]) for i in (0, 2)]
    torch.testing.assert_close(value, torch.stack(alone).mean())
    (slope,) = torch.autograd.grad(value, logits)
    assert not slope[1].any()
    assert slope[0].any()
    nothing = Lovasz(per_image=True)(logits, torch.full_like(labels, 255))
    assert nothing.item() == 0
    assert nothing.requires_grad
