from __future__ import annotations

import pytest
import torch

from toolkit.losses.dice import Dice


def test_by_hand():
    # Two classes, probabilities 0.75 / 0.25 on a pixel of class 0 and 0.5 / 0.5 on one of class 1:
    # 1 - 2*0.75 / (1.25 + 1) = 1/3 and 1 - 2*0.5 / (0.75 + 1) = 3/7.
    logits = torch.tensor([[0.75, 0.5], [0.25, 0.5]]).log().reshape(1, 2, 1, 2)
    labels = torch.tensor([[[0, 1]]])
    assert Dice(smooth=0.0)(logits, labels).item() == pytest.approx((1 / 3 + 3 / 7) / 2)


def test_equals_smps_dice_when_all_classes_are_present():
    losses = pytest.importorskip("segmentation_models_pytorch.losses")
    logits, labels = torch.randn(2, 4, 9, 9, requires_grad=True), torch.randint(4, (2, 9, 9))
    labels[:, :2] = 255
    found, expected = (
        loss(logits, labels) for loss in (Dice(smooth=0.0), losses.DiceLoss("multiclass", ignore_index=255))
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, logits, retain_graph=True), torch.autograd.grad(expected, logits)
    )


def test_perfect_is_zero_and_absent_classes_count_only_when_asked_for():
    labels = torch.tensor([[[0, 1, 1, 255]]])
    logits = torch.full((1, 3, 1, 4), -30.0)
    logits.scatter_(1, labels.where(labels != 255, 0)[:, None], 30.0)
    assert Dice()(logits, labels).item() == pytest.approx(0, abs=1e-6)
    logits[0, 2] = 30.0  # now class 2 takes half of every pixel
    present, everything = Dice()(logits, labels).item(), Dice("all")(logits, labels).item()
    # Class 0: 1 - 2*0.5 / (0.5 + 1); class 1: 1 - 2*1 / (1 + 2); class 2, absent: 1 - (0 + smooth) / 1.5.
    assert present == pytest.approx((1 / 3 + 1 / 3) / 2, abs=1e-4)
    assert everything == pytest.approx((1 / 3 + 1 / 3 + 1) / 3, abs=1e-4)


def test_a_weight_map_is_refused():
    with pytest.raises(ValueError, match="weight map"):
        Dice()(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long), torch.ones(1, 2, 2))
