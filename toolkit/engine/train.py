"""The training loop, to be read from top to bottom. It receives objects, never the config.

Everything counts in optimizer steps, and the step is the only counter: the data order, each sample's augmentation and
each step's random numbers are functions of (seed, step), so a resumed run is the uninterrupted run, to the bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from toolkit.engine.async_scalars import AsyncScalars
from toolkit.engine.batch_norm import recompute_bn
from toolkit.engine.checkpoint import TrainState, save_state
from toolkit.engine.finite import FiniteCheck, StepRecord
from toolkit.engine.interrupt import Interrupted, StopRequest
from toolkit.engine.job import Job
from toolkit.engine.parameters import LateParts
from toolkit.engine.periodic import log_step, measure, say_time
from toolkit.engine.position import RunPosition
from toolkit.engine.prepare import prepare
from toolkit.engine.settings import TrainSettings
from toolkit.engine.step import (
    add_terms,
    due,
    gradient_norm,
    loss_shares,
    set_learning_rate,
    shared,
    step_seed,
    summed,
)
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
    position, check = RunPosition.of(state), FiniteCheck(fabric, job)
    if state is not None:
        job.log.keep_until(position.step, position.evaluated)
    metrics: dict[str, float | None] = {}

    shown = fabric.is_global_zero
    with (
        StopRequest() as stop,
        Progress("train", settings.steps, "step", shown=shown) as progress,
        StepGuard(fabric, job, settings) as guard,
    ):
        progress.start_at(position.step)
        batches = position.fetched(job.batches(position.step))
        while True:
            last, stopping = position.finished(settings), stop.agreed(fabric)
            step, unmeasured = position.step, position.evaluated != position.step
            measuring = job.evaluate and unmeasured and (last or due(step, settings.evaluate_every))
            saving = step > 0 and (last or stopping or measuring or due(step, settings.save_every))
            if measuring or saving:
                check.settle()
            if last and job.statistics and unmeasured:
                with average.in_model():
                    batches_seen = recompute_bn(job.model, job.statistics())
                job.log.line(f"batch normalisation: statistics of {batches_seen} batches")
            if measuring:
                if not job.run.state.exists():  # so that best.safetensors never stands without one
                    save(fabric, job, optimizer, average, position)
                try:
                    with average.in_model():
                        metrics = measure(fabric, job, settings, position, stop, progress)
                except Interrupted:
                    save(fabric, job, optimizer, average, position)
                    fabric.barrier()  # the end of one process makes its launcher end the others: not before it is saved
                    raise
                if not last and position.finished(settings):
                    continue
            if saving:
                save(fabric, job, optimizer, average, position)
            if last:
                return Trained(position.step, metrics, position.step < settings.steps)
            if stopping:
                fabric.barrier()
                raise Interrupted

            set_learning_rate(optimizer, job.schedule, position.step, settings)
            terms: dict[str, float] = {}
            micro_batches = [next(batches) for _ in range(settings.accumulate)]
            shares = loss_shares(fabric, job.model, micro_batches)
            for number, batch in enumerate(micro_batches):
                seed = step_seed(job.seed, position.step * settings.accumulate + number, fabric.global_rank)
                torch.manual_seed(seed)
                batch = guard.watch(position.step, fabric.to_device(batch))
                with fabric.no_backward_sync(module, enabled=number < settings.accumulate - 1):
                    losses = shared(module(batch), shares[number])
                    scalars = AsyncScalars(losses)
                    fabric.backward(summed(losses) / settings.accumulate)
                record = StepRecord(position.step, seed, batch, shares[number])
                add_terms(terms, check.losses(scalars, record), settings.accumulate)
            late.drop_gradients(position.step)
            norm = gradient_norm(fabric, optimizer, settings.clip_norm)
            position.window.add(terms, check.gradient(norm, optimizer, record))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            average.update()
            position.step += 1

            position.window.add_images(job.step_images)
            progress.update(position.step, f"loss {sum(terms.values()):.4g}")
            if progress.made == 3:
                say_time(job, settings, progress)
            if due(position.step, settings.log_every) or position.step == settings.steps:
                log_step(fabric, job, position, optimizer, progress)


def save(fabric: Any, job: Job, optimizer: Any, average: WeightAverage, position: RunPosition) -> None:
    """The state first: it alone decides where a resumed run starts."""
    if not fabric.is_global_zero:
        return
    model, averages = job.model.state_dict(), average.state()
    state = TrainState(
        position.step,
        model,
        optimizer.state_dict(),
        scaler=dict(fabric.strategy.precision.state_dict()),
        best=position.best,
        evaluated=position.evaluated,
        window=position.window.state(),
        config=job.config_text,
        classes=tuple(job.model.classes),
        stale=position.stale,
        average=averages,
    )
    save_state(job.run.state, state)
    save_weights(job.run.last, averages or model, {**job.metadata, "step": position.step})
