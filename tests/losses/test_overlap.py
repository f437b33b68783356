from __future__ import annotations

import pytest
import torch

from toolkit.losses.overlap import Dice, Jaccard, Tversky


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


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda: Jaccard(smooth=0.0), lambda losses: losses.JaccardLoss("multiclass", ignore_index=255)),
        (
            lambda: Tversky(0.3, 0.7, smooth=0.0),
            lambda losses: losses.TverskyLoss("multiclass", alpha=0.3, beta=0.7, ignore_index=255),
        ),
    ],
)
def test_equals_smps_where_all_classes_are_present(ours, theirs):
    losses = pytest.importorskip("segmentation_models_pytorch.losses")
    logits, labels = torch.randn(2, 4, 9, 9, requires_grad=True), torch.randint(4, (2, 9, 9))
    labels[:, :2] = 255
    torch.testing.assert_close(ours()(logits, labels), theirs(losses)(logits, labels))


def test_tversky_with_halves_is_dice_and_with_ones_is_jaccard():
    logits, labels = torch.randn(2, 4, 9, 9), torch.randint(4, (2, 9, 9))
    torch.testing.assert_close(Tversky(smooth=0.0)(logits, labels), Dice(smooth=0.0)(logits, labels))
    torch.testing.assert_close(Tversky(1.0, 1.0, smooth=0.0)(logits, labels), Jaccard(smooth=0.0)(logits, labels))


def test_binary_is_dice_of_the_second_class():
    losses = pytest.importorskip("segmentation_models_pytorch.losses")
    logits, labels = torch.randn(2, 2, 9, 9), torch.randint(2, (2, 9, 9))
    labels[:, :2] = 255
    expected = losses.DiceLoss("binary", ignore_index=255)(logits[:, 1:] - logits[:, :1], labels[:, None])
    torch.testing.assert_close(Dice(smooth=0.0, mode="binary")(logits, labels), expected)


def test_without_background_the_mean_is_over_the_other_classes():
    logits, labels = torch.randn(2, 3, 9, 9), torch.randint(3, (2, 9, 9))
    by_class = [Dice(class_weights=[float(k == c) for k in range(3)])(logits, labels) for c in range(3)]
    torch.testing.assert_close(Dice(ignore_background=True)(logits, labels), (by_class[1] + by_class[2]) / 2)
    torch.testing.assert_close(
        Dice(class_weights=[1.0, 2.0, 5.0])(logits, labels), (by_class[0] + 2 * by_class[1] + 5 * by_class[2]) / 8
    )


def test_sums_of_two_processes_make_the_loss_of_one():
    """What the engine does: every process divides the sums of all."""
    logits, labels = torch.randn(4, 3, 9, 9), torch.randint(3, (4, 9, 9))
    seen: list[torch.Tensor] = []
    other = Dice()
    other.sum_over_processes = lambda sums: seen.append(sums) or sums
    other(logits[2:], labels[2:])
    one = Dice()
    one.sum_over_processes = lambda sums: sums + seen[0]
    torch.testing.assert_close(one(logits[:2], labels[:2]), Dice()(logits, labels))


def test_a_weight_map_is_refused():
    with pytest.raises(ValueError, match="weight map"):
        Dice()(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long), torch.ones(1, 2, 2))
