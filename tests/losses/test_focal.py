"""The focal loss against its formula and against segmentation-models-pytorch."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from toolkit.losses.focal import Focal


def problem() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 4, 6, 6, generator=generator) * 2
    labels = torch.randint(4, (2, 6, 6), generator=generator)
    labels[0, :2] = 255
    return logits.requires_grad_(), labels


def test_by_hand():
    """One pixel of class 1 with logits whose sigmoids are 0.25 and 0.8: terms of "not 0" and "is 1"."""
    logits = torch.tensor([0.25, 0.8]).logit().reshape(1, 2, 1, 1)
    wanted = -(0.25**2) * math.log(0.75) * 0.75 - (0.2**2) * math.log(0.8) * 0.25
    assert Focal(2.0, 0.25)(logits, torch.ones(1, 1, 1, dtype=torch.long)).item() == pytest.approx(wanted / 2, rel=1e-5)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, None), (3.0, 0.25)])
def test_equals_smps(gamma, alpha):
    losses = pytest.importorskip("segmentation_models_pytorch.losses")
    logits, labels = problem()
    found = Focal(gamma, alpha)(logits, labels)
    expected = losses.FocalLoss("multiclass", alpha, gamma, 255)(logits, labels)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, logits, retain_graph=True), torch.autograd.grad(expected, logits)
    )


def test_gamma_zero_is_binary_cross_entropy():
    logits, labels = problem()
    kept = labels != 255
    truth = F.one_hot(labels.where(kept, 0), 4).movedim(-1, 1).float()
    terms = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(1)
    torch.testing.assert_close(Focal(0.0)(logits, labels), terms[kept].mean())


def test_without_background_class_0_has_no_part():
    logits, labels = problem()
    moved = torch.cat((logits[:, :1] + 5, logits[:, 1:]), 1)
    loss = Focal(ignore_background=True)
    torch.testing.assert_close(loss(logits, labels), loss(moved, labels))
    assert not torch.isclose(Focal()(logits, labels), Focal()(moved, labels))


def test_binary_is_the_binary_loss_of_the_difference():
    losses = pytest.importorskip("segmentation_models_pytorch.losses")
    logits, labels = problem()
    labels = labels.where(labels == 255, labels % 2)
    difference = logits[:, 1:2] - logits[:, :1]
    expected = losses.FocalLoss("binary", 0.25, 2.0, 255)(difference, labels[:, None])
    torch.testing.assert_close(Focal(2.0, 0.25, mode="binary")(logits[:, :2], labels), expected)
