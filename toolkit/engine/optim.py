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
from toolkit.engine.muon import Muon as Muon


@OPTIMIZERS.register("sgd")
class Sgd(OptimizerRule):
    """Stochastic gradient descent with momentum.

    Args:
        lr: base learning rate, above 0, which the schedule multiplies at every step.
        momentum: part of the last update that is kept in the next, 0..1; 0 is plain descent.
        weight_decay: part of each weight added to its gradient (L2 penalty), 0 or more.
        nesterov: whether the gradient is taken ahead of the momentum (Nesterov's form).
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
        """A fused `torch.optim.SGD` over parameter groups, each a dict with "params" and its own options."""
        optimizer = torch.optim.SGD(
            list(groups), self.lr, self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov, fused=True
        )
        optimizer.register_step_pre_hook(_begin_momentum)
        return optimizer


@OPTIMIZERS.register("adamw")
class AdamW(OptimizerRule):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019).

    Args:
        lr: base learning rate, above 0, which the schedule multiplies at every step.
        weight_decay: part of a weight that is taken off a step, times lr, 0 or more.
        betas: parts of the mean gradient and mean square that are kept at each step, 0..1 both.
        eps: number added to the root of the mean square, so that nothing is divided by 0.
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
        """A fused `torch.optim.AdamW` over parameter groups, each a dict with "params" and its own options."""
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
    """The base learning rate at every step."""

    def __init__(self) -> None:
        pass

    def factor(self, step: int, steps: int) -> float:
        """1 at every step: the base rate."""
        return 1.0


@SCHEDULES.register("poly")
class Poly(Schedule):
    """(1 - step / steps) ** power of the base rate (Liu et al., ParseNet, 2015, section 3.3; power 0.9 is usual).

    Args:
        power: how the rate falls: 1 is a straight line, below 1 later, above 1 earlier.
        minimum: part of the base rate, 0..1, below which it does not fall.
    """

    def __init__(self, power: PositiveFloat = 0.9, minimum: Probability = 0.0) -> None:
        self.power, self.minimum = power, minimum

    def factor(self, step: int, steps: int) -> float:
        """Falls from 1 towards `minimum`."""
        return max(self.minimum, (1 - min(step, steps) / steps) ** self.power)


@SCHEDULES.register("multistep")
class MultiStep(Schedule):
    """The base rate, multiplied by `gamma` at each milestone.

    Args:
        milestones: numbers of optimizer steps, counted from 0, at which the rate changes.
        gamma: factor at every milestone, above 0; 0.1 divides the rate by ten.
    """

    def __init__(self, milestones: list[NonNegativeInt], gamma: PositiveFloat = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma

    def factor(self, step: int, steps: int) -> float:
        """gamma ** (milestones reached): the update numbered as a milestone already has the smaller rate."""
        return self.gamma ** sum(step >= milestone for milestone in self.milestones)


@SCHEDULES.register("cosine")
class Cosine(Schedule):
    """Half a cosine from the base rate down (Loshchilov & Hutter, SGDR, 2017, equation 5, one cycle).

    Args:
        minimum: part of the base rate, 0..1, that is left after the last step.
    """

    def __init__(self, minimum: Probability = 0.0) -> None:
        self.minimum = minimum

    def factor(self, step: int, steps: int) -> float:
        """1 at the first update, `minimum` after the last."""
        return self.minimum + (1 - self.minimum) * 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))


def warmed_up(factor: float, step: int, warmup_steps: int, warmup_factor: float) -> float:
    """A schedule's factor under linear warm-up.

    Args:
        factor: what the schedule says at this step, as a factor of the base rate.
        step: number of the step, counted from 0.
        warmup_steps: steps until the whole factor is reached; 0 means no warm-up.
        warmup_factor: part of the factor that step 0 gets, 0..1.

    >>> [round(warmed_up(1.0, step, warmup_steps=4, warmup_factor=0.2), 3) for step in range(6)]
    [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    """
    if step >= warmup_steps:
        return factor
    return factor * (warmup_factor + (1 - warmup_factor) * step / warmup_steps)
