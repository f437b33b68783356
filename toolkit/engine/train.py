"""The training loop, to be read from top to bottom. It receives objects, never the config.

Everything counts in optimizer steps, and the step is the only counter: the data order, each sample's augmentation and
each step's random numbers are functions of (seed, step), so a resumed run is the uninterrupted run, to the bit.
"""

from __future__ import annotations

from typing import Any

import torch

from toolkit.engine.checkpoint import TrainState, save_state
from toolkit.engine.interrupt import Interrupted, StopRequest
from toolkit.engine.job import Job
from toolkit.engine.log_step import log_step
from toolkit.engine.measure import measure
from toolkit.engine.position import Position
from toolkit.engine.prepare import prepare
from toolkit.engine.recompute_bn import recompute_bn
from toolkit.engine.settings import TrainSettings
from toolkit.engine.step import add_finite, due, gradient_norm, set_learning_rate, step_seed
from toolkit.models.weights import save_weights
from toolkit.progress import Progress


def train(fabric: Any, job: Job, settings: TrainSettings, state: TrainState | None = None) -> dict[str, float | None]:
    """Trains until `settings.steps`, from `state` when there is one; returns the last evaluation's numbers.

    Raises Interrupted after saving when a stop is asked for, UserError for a loss that is not finite.
    """
    module, optimizer = prepare(fabric, job, settings, state)
    at = Position.of(state)
    if state is not None:
        job.log.keep_until(at.step, at.evaluated)
    metrics: dict[str, float | None] = {}

    with StopRequest() as stop, Progress("train", settings.steps, "step", shown=fabric.is_global_zero) as progress:
        progress.start_at(at.step)
        batches = at.fetched(job.batches(at.step))
        while True:
            last = at.step == settings.steps
            if last and job.statistics and at.evaluated != at.step:
                number = recompute_bn(job.model, job.statistics())
                job.log.line(f"batch normalisation: statistics of {number} batches")
            if job.evaluate and at.evaluated != at.step and (last or due(at.step, settings.evaluate_every)):
                try:
                    metrics = measure(fabric, job, at, stop, progress)
                except Interrupted:
                    save(fabric, job, optimizer, at)
                    raise
            if at.step > 0 and (last or stop.requested or due(at.step, settings.save_every)):
                save(fabric, job, optimizer, at)
            if last:
                return metrics
            if stop.requested:
                raise Interrupted

            rate = set_learning_rate(optimizer, job.schedule, at.step, settings)
            terms: dict[str, float] = {}
            for part in range(settings.accumulate):
                torch.manual_seed(step_seed(job.seed, at.step * settings.accumulate + part, fabric.global_rank))
                batch = fabric.to_device(next(batches))
                with fabric.no_backward_sync(module, enabled=part < settings.accumulate - 1):
                    losses = module(batch)
                    total = torch.stack(list(losses.values())).sum()
                    add_finite(terms, losses, at.step, batch, settings.accumulate)
                    fabric.backward(total / settings.accumulate)
            norm = gradient_norm(fabric, module, optimizer, settings.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            at.step += 1

            at.window.add({**terms, **({"gradient_norm": norm} if norm is not None else {})})
            at.window.took(job.step_images, 0.0)
            progress.update(at.step, f"loss {sum(terms.values()):.4g}")
            if due(at.step, settings.log_every) or at.step == settings.steps:
                log_step(fabric, job, at, rate, progress)


def save(fabric: Any, job: Job, optimizer: torch.optim.Optimizer, at: Position) -> None:
    """The state first: it alone decides where a resumed run starts."""
    if not fabric.is_global_zero:
        return
    model = job.model.state_dict()
    scaler = dict(fabric.strategy.precision.state_dict())
    save_state(
        job.run.state,
        TrainState(
            at.step, model, optimizer.state_dict(), scaler, at.best, at.evaluated, dict(at.window.sums), job.config_text,
            classes=tuple(job.model.classes), stale=at.stale,
        ),
    )  # fmt: skip
    save_weights(job.run.last, model, {**job.metadata, "step": at.step})
