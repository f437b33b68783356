"""Schedules against PyTorch's own, and the laws of warm-up."""

from __future__ import annotations

import pytest
import torch

from toolkit.contracts import SCHEDULES, Schedule
from toolkit.engine.optim import Constant, Cosine, MultiStep, Poly, warmed_up

S = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Constant(), lambda o: S.ConstantLR(o, 1.0)),
        (Poly(0.9), lambda o: S.PolynomialLR(o, 50, 0.9)),
        (MultiStep([10, 30], 0.2), lambda o: S.MultiStepLR(o, [10, 30], 0.2)),
        (Cosine(0.1), lambda o: S.CosineAnnealingLR(o, 50, 0.1)),
    ],
)
def test_equal_to_pytorch(ours: Schedule, theirs: object) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = theirs(optimizer)  # type: ignore[operator]
    for step in range(50):
        assert ours.factor(step, 50) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        scheduler.step()


def test_all_are_compared() -> None:
    assert SCHEDULES.names() == ["constant", "cosine", "multistep", "poly"]


def test_warm_up_is_linear_and_then_gone() -> None:
    factors = [warmed_up(0.5, step, 4, 0.2) for step in range(6)]
    assert factors == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])
