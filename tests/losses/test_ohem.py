from __future__ import annotations

import pytest
import torch

from toolkit.losses.cross_entropy import CrossEntropy
from toolkit.losses.ohem import OnlineHardExamples


def probabilities(true):
    """Logits of two classes where the true class, 0, has the given probabilities."""
    p = torch.tensor(true)
    return torch.stack([p, 1 - p]).log().reshape(1, 2, 1, -1), torch.zeros(1, 1, len(true), dtype=torch.long)


@pytest.mark.parametrize(
    ("threshold", "min_kept", "kept"),
    [(0.7, 1, [0.1, 0.6]), (0.05, 1, [0.1]), (0.05, 3, [0.1, 0.6, 0.8]), (0.7, 100, [0.1, 0.6, 0.8, 0.9])],
)
def test_by_hand(threshold, min_kept, kept):
    logits, labels = probabilities([0.9, 0.1, 0.6, 0.8])
    expected = -torch.tensor(kept).log().mean().item()
    assert OnlineHardExamples(threshold, min_kept)(logits, labels).item() == pytest.approx(expected, rel=1e-5)


def test_keeping_everything_is_cross_entropy():
    logits, labels = torch.randn(2, 4, 5, 5), torch.randint(4, (2, 5, 5))
    labels[0, 0] = 255
    torch.testing.assert_close(OnlineHardExamples(1.0, 1)(logits, labels), CrossEntropy()(logits, labels))


def test_easy_pixels_have_no_gradient():
    logits, labels = probabilities([0.9, 0.1])
    logits.requires_grad_()
    OnlineHardExamples(0.7, 1)(logits, labels).backward()
    assert not logits.grad[..., 0].any()
    assert logits.grad[..., 1].abs().min() > 0.5
