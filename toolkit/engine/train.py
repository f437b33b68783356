"""The training loop, to be read from top to bottom. It receives objects, never the config.

Everything counts in optimizer steps, and the step is the only counter: the data order, each sample's augmentation and
each step's random numbers are functions of (seed, step), so a resumed run is the uninterrupted run, to the bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from toolkit.engine.checkpoint import TrainState, save_state
from toolkit.engine.finite import FiniteCheck, Origin
from toolkit.engine.interrupt import Interrupted, StopRequest
from toolkit.engine.job import Job
from toolkit.engine.log_step import log_step, say_time
from toolkit.engine.measure import measure
from toolkit.engine.parameters import LateParts
from toolkit.engine.position import Position
from toolkit.engine.prepare import prepare
from toolkit.engine.reading import Reading
from toolkit.engine.recompute_bn import recompute_bn
from toolkit.engine.settings import TrainSettings
from toolkit.engine.shares import batch_shares, shared
from toolkit.engine.step import add_terms, due, gradient_norm, set_learning_rate, step_seed, summed
from toolkit.engine.step_guard import StepGuard
from toolkit.engine.weight_average import WeightAverage
from toolkit.models.weights import save_weights
from toolkit.progress import Progress


class Trained(NamedTuple):
    """step: updates made. metrics: of the last evaluation. early: whether `patience` ended it before `steps`."""

    step: int
    metrics: dict[str, float | None]
    early: bool


def train(fabric: Any, job: Job, settings: TrainSettings, state: TrainState | None = None) -> Trained:
    """Trains until `settings.steps`, from `state` when there is one.

    Raises Interrupted after saving when a stop is asked for, UserError for a loss that is not finite and a step that does
    not fit into memory.
    """
    module, optimizer = prepare(fabric, job, settings, state)
    late = LateParts(job.model, settings.freeze_until)
    average = WeightAverage(job.model, settings.ema_decay, state.average if state else None)
    at, check = Position.of(state), FiniteCheck(fabric, job)
    if state is not None:
        job.log.keep_until(at.step, at.evaluated)
    metrics: dict[str, float | None] = {}

    shown = fabric.is_global_zero
    with (
        StopRequest() as stop,
        Progress("train", settings.steps, "step", shown=shown) as progress,
        StepGuard(fabric, job, settings) as guard,
    ):
        progress.start_at(at.step)
        batches = at.fetched(job.batches(at.step))
        while True:
            last, stopping = at.finished(settings), stop.agreed(fabric)
            measuring = job.evaluate and at.evaluated != at.step and (last or due(at.step, settings.evaluate_every))
            saving = at.step > 0 and (last or stopping or measuring or due(at.step, settings.save_every))
            if measuring or saving:
                check.settle()
            if last and job.statistics and at.evaluated != at.step:
                with average.in_model():
                    number = recompute_bn(job.model, job.statistics())
                job.log.line(f"batch normalisation: statistics of {number} batches")
            if measuring:
                if not job.run.state.exists():  # so that best.safetensors never stands without one
                    save(fabric, job, optimizer, average, at)
                try:
                    with average.in_model():
                        metrics = measure(fabric, job, settings, at, stop, progress)
                except Interrupted:
                    save(fabric, job, optimizer, average, at)
                    fabric.barrier()  # the end of one process makes its launcher end the others: not before it is saved
                    raise
                if not last and at.finished(settings):
                    continue
            if saving:
                save(fabric, job, optimizer, average, at)
            if last:
                return Trained(at.step, metrics, at.step < settings.steps)
            if stopping:
                fabric.barrier()
                raise Interrupted

            set_learning_rate(optimizer, job.schedule, at.step, settings)
            terms: dict[str, float] = {}
            parts = [next(batches) for _ in range(settings.accumulate)]
            shares = batch_shares(fabric, job.model, parts)
            for part, batch in enumerate(parts):
                seed = step_seed(job.seed, at.step * settings.accumulate + part, fabric.global_rank)
                torch.manual_seed(seed)
                batch = guard.sees(at.step, fabric.to_device(batch))
                with fabric.no_backward_sync(module, enabled=part < settings.accumulate - 1):
                    losses = shared(module(batch), shares[part])
                    reading = Reading(losses)
                    fabric.backward(summed(losses) / settings.accumulate)
                origin = Origin(at.step, seed, batch, shares[part])
                add_terms(terms, check.losses(reading, origin), settings.accumulate)
            late.drop_gradients(at.step)
            norm = gradient_norm(fabric, optimizer, settings.clip_norm)
            at.window.add(terms, check.gradient(norm, optimizer, origin))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            average.update()
            at.step += 1

            at.window.took(job.step_images, 0.0)
            progress.update(at.step, f"loss {sum(terms.values()):.4g}")
            if progress.made == 3:
                say_time(job, settings, progress)
            if due(at.step, settings.log_every) or at.step == settings.steps:
                log_step(fabric, job, at, optimizer, progress)


def save(fabric: Any, job: Job, optimizer: Any, average: WeightAverage, at: Position) -> None:
    """The state first: it alone decides where a resumed run starts."""
    if not fabric.is_global_zero:
        return
    model, averages = job.model.state_dict(), average.state()
    state = TrainState(
        at.step,
        model,
        optimizer.state_dict(),
        scaler=dict(fabric.strategy.precision.state_dict()),
        best=at.best,
        evaluated=at.evaluated,
        window=at.window.state(),
        config=job.config_text,
        classes=tuple(job.model.classes),
        stale=at.stale,
        average=averages,
    )
    save_state(job.run.state, state)
    save_weights(job.run.last, averages or model, {**job.metadata, "step": at.step})
