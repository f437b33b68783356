"""One batch, again and again: a model that cannot learn even that has a fault that no amount of data mends."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from toolkit.engine.job import Job
from toolkit.engine.prepare import prepare
from toolkit.engine.settings import TrainSettings
from toolkit.engine.step_guard import StepGuard
from toolkit.progress import Progress


class Overfit(NamedTuple):
    """names: of the images. losses: one a step. first, last: means over a tenth of the steps at either end."""

    names: tuple[str, ...]
    losses: list[float]

    @property
    def first(self) -> float:
        """Mean loss of the first tenth of the steps."""
        return _mean(self.losses[: _tenth(self.losses)])

    @property
    def last(self) -> float:
        """Mean loss of the last tenth of the steps."""
        return _mean(self.losses[-_tenth(self.losses) :])

    @property
    def falls(self) -> bool:
        """Whether it lost at least a tenth."""
        return self.last < 0.9 * self.first


def overfit(fabric: Any, job: Job, settings: TrainSettings, steps: int) -> Overfit:
    """Trains `job.model` on its first batch only, at the base learning rate, with dropout as in training.

    Args:
        fabric: a launched Fabric; with several processes each has its own first batch.
        job: what is trained; its schedule is left out.
        settings: settings of the training; warm-up and accumulation are left out, all the rest is as there.
        steps: how many updates are made of the one batch.

    Nothing is written but the batch of a loss that is not finite, where `job.run` exists. Raises as `train`.
    """
    settings = dataclasses.replace(settings, accumulate=1, warmup_steps=0)
    step = prepare(fabric, dataclasses.replace(job, schedule=None), settings, None)
    losses, batch = list[float](), next(iter(job.batches(0)))
    with (
        Progress("overfit", steps, "step", shown=fabric.is_global_zero) as progress,
        StepGuard(fabric, job, settings, step),
    ):
        for number in range(steps):
            losses.append(sum(step.run(number, [batch]).terms.values()))
            progress.update(number + 1, f"loss {losses[-1]:.4g}")
    step.settle()
    return Overfit(batch.names, losses)


def _tenth(values: list[float]) -> int:
    return max(1, len(values) // 10)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
