"""Optimizers and learning-rate schedules that a config can name.

PyTorch's optimizers, fused where the build has a fused kernel (a CPU step is then 4-9 times cheaper). A schedule gives
factors of the base rate as a pure function of the step; warm-up is laid over any of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from toolkit.bounds import NonNegativeFloat, NonNegativeInt, PositiveFloat, Probability
from toolkit.contracts import OPTIMIZERS, SCHEDULES, OptimizerRule, Schedule


@OPTIMIZERS.register("sgd")
class Sgd(OptimizerRule):
    """Stochastic gradient descent with momentum.

    lr: learning rate. momentum: 0..1. weight_decay: added to the gradient (L2). nesterov: look-ahead momentum.
    """

    def __init__(
        self,
        lr: PositiveFloat,
        momentum: Probability = 0.9,
        weight_decay: NonNegativeFloat = 0.0,
        nesterov: bool = False,
    ) -> None:
        self.lr, self.momentum, self.weight_decay, self.nesterov = lr, momentum, weight_decay, nesterov

    def build(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """torch.optim.SGD over the groups."""
        optimizer = torch.optim.SGD(
            list(groups), self.lr, self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov, fused=True
        )
        optimizer.register_step_pre_hook(_begin_momentum)
        return optimizer


@OPTIMIZERS.register("adamw")
class AdamW(OptimizerRule):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019).

    lr: learning rate. betas: decay of the two moments. weight_decay: fraction of a weight taken off a step, times lr.
    eps: added to the root of the second moment.
    """

    def __init__(
        self,
        lr: PositiveFloat = 1e-3,
        weight_decay: NonNegativeFloat = 0.01,
        betas: tuple[Probability, Probability] = (0.9, 0.999),
        eps: PositiveFloat = 1e-8,
    ) -> None:
        self.lr, self.weight_decay, self.betas, self.eps = lr, weight_decay, betas, eps

    def build(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """torch.optim.AdamW over the groups."""
        return torch.optim.AdamW(
            list(groups), self.lr, self.betas, self.eps, weight_decay=self.weight_decay, fused=True
        )


def _begin_momentum(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Gives a parameter that is updated for the first time a momentum of 0, which is what the first update assumes.

    PyTorch's fused kernel (2.15) fails when some parameters of a group have their momentum and others not yet, as when
    a part is trained later than the rest.
    """
    for group in optimizer.param_groups:
        if group["momentum"] == 0:
            continue
        for parameter in group["params"]:
            if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


@SCHEDULES.register("constant")
class Constant(Schedule):
    """The base rate throughout."""

    def __init__(self) -> None:
        pass

    def factor(self, step: int, steps: int) -> float:
        """1 at every step."""
        return 1.0


@SCHEDULES.register("poly")
class Poly(Schedule):
    """(1 - step / steps) ** power, not below `minimum` (Liu et al., ParseNet, 2015, section 3.3; power 0.9 is usual)."""

    def __init__(self, power: PositiveFloat = 0.9, minimum: Probability = 0.0) -> None:
        self.power, self.minimum = power, minimum

    def factor(self, step: int, steps: int) -> float:
        """Falls from 1 towards `minimum`."""
        return max(self.minimum, (1 - min(step, steps) / steps) ** self.power)


@SCHEDULES.register("multistep")
class MultiStep(Schedule):
    """Multiplied by `gamma` at each of the `milestones` (steps)."""

    def __init__(self, milestones: list[NonNegativeInt], gamma: PositiveFloat = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma

    def factor(self, step: int, steps: int) -> float:
        """gamma ** (milestones reached): the update numbered as a milestone already has the smaller rate."""
        return self.gamma ** sum(step >= milestone for milestone in self.milestones)


@SCHEDULES.register("cosine")
class Cosine(Schedule):
    """Half a cosine from 1 to `minimum` (Loshchilov & Hutter, SGDR, 2017, equation 5, one cycle)."""

    def __init__(self, minimum: Probability = 0.0) -> None:
        self.minimum = minimum

    def factor(self, step: int, steps: int) -> float:
        """1 at the first update, `minimum` after the last."""
        return self.minimum + (1 - self.minimum) * 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))


def warmed_up(factor: float, step: int, warmup_steps: int, warmup_factor: float) -> float:
    """A schedule's factor under linear warm-up: from `warmup_factor` at step 0 to 1 at step `warmup_steps`."""
    if step >= warmup_steps:
        return factor
    return factor * (warmup_factor + (1 - warmup_factor) * step / warmup_steps)
