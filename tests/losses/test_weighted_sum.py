from __future__ import annotations

import pytest
import torch

from toolkit.contracts import PixelLoss
from toolkit.errors import ConfigError
from toolkit.losses.cross_entropy import CrossEntropy
from toolkit.losses.lovasz import Lovasz
from toolkit.losses.overlap import Dice
from toolkit.losses.weighted_sum import WeightedSum

LOGITS, LABELS = (
    torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(1)),
    torch.arange(50).reshape(2, 5, 5) % 3,
)


def test_terms_are_weighted_named_and_add_up():
    loss = WeightedSum([CrossEntropy(), Dice(), Lovasz(), Dice("all")], [1.0, 0.5, 2.0, 3.0])
    terms = loss.terms(LOGITS, LABELS)
    assert list(terms) == ["cross_entropy", "dice", "lovasz", "dice_2"]
    torch.testing.assert_close(terms["dice"], 0.5 * Dice()(LOGITS, LABELS))
    torch.testing.assert_close(terms["dice_2"], 3 * Dice("all")(LOGITS, LABELS))
    torch.testing.assert_close(loss(LOGITS, LABELS), sum(terms.values()))


def test_sums_within_sums_keep_their_names():
    inner = WeightedSum([CrossEntropy(), Dice()], [1.0, 2.0])
    terms = WeightedSum([inner, Dice()], [0.5, 1.0]).terms(LOGITS, LABELS)
    assert list(terms) == ["cross_entropy", "dice", "dice_2"]
    torch.testing.assert_close(terms["dice"], terms["dice_2"])


def test_a_class_from_outside_is_logged_by_its_own_name():
    class Mine(PixelLoss):
        def forward(self, logits, labels, weight_map=None):
            return logits.mean()

    assert list(Mine().terms(LOGITS, LABELS)) == ["Mine"]


def test_as_many_weights_as_losses():
    with pytest.raises(ConfigError, match="2 losses and 1 weights"):
        WeightedSum([CrossEntropy(), Dice()], [1.0])
    with pytest.raises(ConfigError, match="0 losses"):
        WeightedSum([])
