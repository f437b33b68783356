"""The learning-rate range test: the rate grows exponentially, and the loss says where it learns and where it breaks.

Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), section 3.3, with an exponential instead of a
linear range, as is usual.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from toolkit.contracts import Schedule
from toolkit.engine.job import Job
from toolkit.engine.prepare import prepare
from toolkit.engine.settings import TrainSettings
from toolkit.engine.step_guard import StepGuard
from toolkit.progress import Progress

SPREAD = 3.0
"""Deviation, in steps, of the Gaussian that smooths the losses. It looks both ways: a running mean would lag behind, and
show every rate's effect at a larger rate."""
BROKEN = 4.0
"""The test ends when the mean of three losses is so many times the smallest mean."""


class RangeTest(NamedTuple):
    """The curve of a learning-rate range test and what it suggests.

    Args:
        rates: one a step, as far as losses were finite.
        losses: one a step, as far as losses were finite.
        smoothed: one a step, as far as losses were finite.
        suggestion: None where the loss never fell.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None


class _Rates(Schedule):
    """A list of rates as factors of the optimizer's own, one a step."""

    def __init__(self, rates: Sequence[float], base: float) -> None:
        self.factors = [rate / base for rate in rates]

    def factor(self, step: int, steps: int) -> float:
        """See `Schedule`."""
        return self.factors[step]


def find_learning_rate(
    fabric: Any, job: Job, settings: TrainSettings, steps: int = 100, lowest: float = 1e-7, highest: float = 10.0
) -> RangeTest:
    """Trains a copy of `job.model`, the rate growing with every step. `job.model` is left as it was.

    Args:
        fabric: a launched Fabric; all its processes take part and end together.
        job: what is trained; the rate is that of its optimizer rule, groups with factors of it keep them.
        settings: settings of the training; warm-up is left out, all the rest is as there.
        steps: how many at most; the test ends early where the loss breaks.
        lowest: learning rate of the first step, above 0.
        highest: learning rate of the last step, above the lowest.
    """
    rates = geometric(lowest, highest, steps)
    settings = dataclasses.replace(settings, warmup_steps=0)
    job = dataclasses.replace(job, model=copy.deepcopy(job.model), schedule=_Rates(rates, job.optimizer_rule.lr))
    step = prepare(fabric, job, settings, None, stop_at_nonfinite=False)
    losses, batches = list[float](), iter(job.batches(0))
    with (
        Progress("find lr", steps, "step", shown=fabric.is_global_zero) as progress,
        StepGuard(fabric, job, settings, step),
    ):
        for number, rate in enumerate(rates):
            terms = step.run(number, [next(batches) for _ in range(settings.accumulate)]).terms
            losses.append(_over_processes(fabric, sum(terms.values())))
            progress.update(number + 1, f"lr {rate:.1e}  loss {losses[-1]:.4g}")
            if is_broken(losses):
                break
    smoothed = smooth([loss for loss in losses if math.isfinite(loss)])
    losses = losses[: len(smoothed)]
    return RangeTest(rates[: len(losses)], losses, smoothed, suggest(rates, smoothed))


def geometric(lowest: float, highest: float, number: int) -> list[float]:
    """Numbers with equal ratios, both ends included.

    Args:
        lowest: first of the numbers, above 0.
        highest: last of the numbers, above `lowest`.
        number: how many numbers there are, 2 or more.
    """
    return [lowest * (highest / lowest) ** (place / max(number - 1, 1)) for place in range(number)]


def smooth(values: list[float]) -> list[float]:
    """Each value's Gaussian mean with its neighbours; at the ends with those there are."""
    near = range(-round(3 * SPREAD), round(3 * SPREAD) + 1)
    found = []
    for place in range(len(values)):
        there = [(math.exp(-((shift / SPREAD) ** 2) / 2), place + shift) for shift in near]
        pairs = [(weight, values[at]) for weight, at in there if 0 <= at < len(values)]
        found.append(sum(weight * value for weight, value in pairs) / sum(weight for weight, _ in pairs))
    return found


def is_broken(losses: list[float]) -> bool:
    """Whether the last loss is not finite, or the losses are far above their smallest."""
    if not math.isfinite(losses[-1]):
        return True
    means = [sum(losses[place : place + 3]) / 3 for place in range(len(losses) - 2)]
    return bool(means) and means[-1] > BROKEN * min(means) > 0


def suggest(rates: list[float], smoothed: list[float]) -> float | None:
    """Where the smoothed loss falls fastest over the logarithm of the rate, but at most a tenth of where it is smallest.

    None when the loss never fell below 0.95 of its start.
    """
    if len(smoothed) < 3 or min(smoothed) > 0.95 * smoothed[0]:
        return None
    lowest = smoothed.index(min(smoothed))
    # Slopes over two steps, up to the minimum; the ratio of rates is constant, so steps stand for their logarithm.
    slopes = [smoothed[place + 1] - smoothed[place - 1] for place in range(1, lowest)] or [0.0]
    steepest = 1 + slopes.index(min(slopes))
    return min(rates[steepest], rates[lowest] / 10)


def _over_processes(fabric: Any, loss: float) -> float:
    """All processes have to end the test together."""
    if fabric.world_size == 1:
        return loss
    return float(fabric.all_reduce(torch.tensor(loss, device=fabric.device), reduce_op="mean"))
