"""The learning-rate range test: the rate grows exponentially, and the loss says where it learns and where it breaks.

Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), section 3.3, with an exponential instead of a
linear range, as is usual.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any, NamedTuple

import torch

from toolkit.engine.async_scalars import AsyncScalars
from toolkit.engine.job import Job
from toolkit.engine.prepare import prepare
from toolkit.engine.settings import TrainSettings
from toolkit.engine.step import gradient_norm, step_seed, summed
from toolkit.engine.step_guard import StepGuard
from toolkit.progress import Progress

SPREAD = 3.0
"""Deviation, in steps, of the Gaussian that smooths the losses. It looks both ways: a running mean would lag behind, and
show every rate's effect at a larger rate."""
BROKEN = 4.0
"""The test ends when the mean of three losses is so many times the smallest mean."""


class RangeTest(NamedTuple):
    """rates, losses, smoothed: one a step, as far as losses were finite. suggestion: None where the loss never fell."""

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None


def find_learning_rate(
    fabric: Any, job: Job, settings: TrainSettings, steps: int = 100, lowest: float = 1e-7, highest: float = 10.0
) -> RangeTest:
    """Trains a copy of `job.model` for at most `steps` steps, the rate growing from `lowest` to `highest`.

    The rate is that of the optimizer rule; groups with factors of it keep them. `job.model` is left as it was.
    """
    job = dataclasses.replace(job, model=copy.deepcopy(job.model))
    module, optimizer = prepare(fabric, job, settings, None)
    rates, losses = geometric(lowest, highest, steps), list[float]()
    batches = iter(job.batches(0))
    with (
        Progress("find lr", steps, "step", shown=fabric.is_global_zero) as progress,
        StepGuard(fabric, job, settings) as guard,
    ):
        for step, rate in enumerate(rates):
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * rate / job.optimizer_rule.lr
            loss = 0.0
            for part in range(settings.accumulate):
                torch.manual_seed(step_seed(job.seed, step * settings.accumulate + part, fabric.global_rank))
                terms = module(guard.watch(step, fabric.to_device(next(batches))))
                scalars = AsyncScalars(terms)
                fabric.backward(summed(terms) / settings.accumulate)
                loss += sum(scalars.values().values()) / settings.accumulate
            losses.append(_over_processes(fabric, loss))
            progress.update(step + 1, f"lr {rate:.1e}  loss {losses[-1]:.4g}")
            if is_broken(losses):
                break
            gradient_norm(fabric, optimizer, settings.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    smoothed = smooth([loss for loss in losses if math.isfinite(loss)])
    losses = losses[: len(smoothed)]
    return RangeTest(rates[: len(losses)], losses, smoothed, suggest(rates, smoothed))


def geometric(lowest: float, highest: float, number: int) -> list[float]:
    """Numbers with equal ratios, both ends included."""
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
