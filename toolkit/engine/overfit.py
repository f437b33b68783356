"""One batch, again and again: a model that cannot learn even that has a fault that no amount of data mends."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from toolkit.engine.async_scalars import AsyncScalars
from toolkit.engine.finite import FiniteCheck, StepRecord
from toolkit.engine.job import Job
from toolkit.engine.prepare import prepare
from toolkit.engine.settings import TrainSettings
from toolkit.engine.step import gradient_norm, step_seed, summed
from toolkit.engine.step_guard import StepGuard
from toolkit.progress import Progress


class Overfit(NamedTuple):
    """names: of the images. losses: one a step. first, last: means over a tenth of the steps at either end."""

    names: tuple[str, ...]
    losses: list[float]

    @property
    def first(self) -> float:
        """Where the loss began."""
        return _mean(self.losses[: _tenth(self.losses)])

    @property
    def last(self) -> float:
        """Where it ended."""
        return _mean(self.losses[-_tenth(self.losses) :])

    @property
    def falls(self) -> bool:
        """Whether it lost at least a tenth."""
        return self.last < 0.9 * self.first


def overfit(fabric: Any, job: Job, settings: TrainSettings, steps: int) -> Overfit:
    """Trains `job.model` on its first batch only, at the base learning rate, with dropout as in training.

    Nothing is written but the batch of a loss that is not finite, where `job.run` exists. Raises as `train`.
    """
    module, optimizer = prepare(fabric, job, settings, None)
    check, losses = FiniteCheck(fabric, job), []
    batch = fabric.to_device(next(iter(job.batches(0))))
    with (
        Progress("overfit", steps, "step", shown=fabric.is_global_zero) as progress,
        StepGuard(fabric, job, settings) as guard,
    ):
        guard.watch(0, batch)
        for step in range(steps):
            seed = step_seed(job.seed, step, fabric.global_rank)
            torch.manual_seed(seed)
            terms = module(batch)
            scalars = AsyncScalars(terms)
            fabric.backward(summed(terms))
            losses.append(sum(check.losses(scalars, StepRecord(step, seed, batch)).values()))
            check.gradient(
                gradient_norm(fabric, optimizer, settings.clip_norm), optimizer, StepRecord(step, seed, batch)
            )
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            progress.update(step + 1, f"loss {losses[-1]:.4g}")
    check.settle()
    return Overfit(batch.names, losses)


def _tenth(values: list[float]) -> int:
    return max(1, len(values) // 10)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
