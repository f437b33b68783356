"""Bounds of eight bits are of what differs in the mean, those of other precisions of what differs most."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.export.comparison import BOUNDS, compared, total

NOISE = np.random.default_rng(0).standard_normal((1, 3, 40, 50)).astype(np.float32)


def problems(kind: str, change: np.ndarray) -> list[str]:
    """What a precision's bounds say of logits of spread 2 that are changed."""
    mine = {"logits": 2 * NOISE}
    return total([compared(mine, {"logits": 2 * NOISE + change}, BOUNDS[kind])]).problems(BOUNDS[kind])


def test_one_far_logit_is_a_difference_in_float16_and_none_in_eight_bits() -> None:
    spike = np.zeros_like(NOISE)
    spike[0, 1, 7, 7] = 10
    assert problems("half", spike)
    assert problems("float32", spike)
    assert problems("int8", spike) == []


@pytest.mark.parametrize(("deviations", "refused"), [(0.2, False), (0.3, True)])
def test_eight_bits_may_differ_by_a_quarter_of_the_spread_in_the_mean(deviations: float, refused: bool) -> None:
    change = 2 * deviations * NOISE[..., ::-1]
    assert bool(problems("int8", change)) == refused
