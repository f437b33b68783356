"""Learning-rate schedules: factors of the base rate as pure functions of the step; warm-up is laid over any of them."""

from __future__ import annotations

import math

from toolkit.bounds import NonNegativeInt, PositiveFloat, Probability
from toolkit.contracts import SCHEDULES, Schedule


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
