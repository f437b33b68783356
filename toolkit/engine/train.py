"""The training loop, to be read from top to bottom. It receives objects, never the config.

Everything counts in optimizer steps, and the step is the only counter: the data order, each sample's augmentation and
each step's random numbers are functions of (seed, step), so a resumed run is the uninterrupted run, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from toolkit.engine.batch_norm import recompute_bn
from toolkit.engine.checkpoint import TrainState, save_state
from toolkit.engine.evaluate import Evaluation
from toolkit.engine.interrupt import Interrupted, StopRequest
from toolkit.engine.job import Job
from toolkit.engine.periodic import log_step, measure, say_time
from toolkit.engine.position import RunPosition
from toolkit.engine.prepare import prepare
from toolkit.engine.settings import TrainSettings
from toolkit.engine.step import due
from toolkit.engine.step_guard import StepGuard
from toolkit.engine.weight_average import WeightAverage
from toolkit.models.weights import save_weights
from toolkit.progress import Progress


class Trained(NamedTuple):
    """How a training ended.

    Args:
        step: number of optimizer updates that were made.
        evaluation: the last evaluation, or None when there was none.
        early: whether `patience` ended the run before `steps`.
        best: "value" and "step" of the best weights; {} without any.
    """

    step: int
    evaluation: Evaluation | None
    early: bool
    best: Mapping[str, float]

    @property
    def metrics(self) -> dict[str, float | None]:
        """Numbers of the last evaluation, by name."""
        return self.evaluation.metrics if self.evaluation is not None else {}


def train(fabric: Any, job: Job, settings: TrainSettings, state: TrainState | None = None) -> Trained:
    """Trains until `settings.steps`, from `state` when there is one.

    Args:
        fabric: device, precision and processes (`make_fabric`).
        job: everything the loop needs, built.
        settings: the numbers that steer the training.
        state: where to go on, or None to begin.

    Raises Interrupted after saving when a stop is asked for, UserError for a loss that is not finite and a step that does
    not fit into memory.
    """
    step = prepare(fabric, job, settings, state)
    average = WeightAverage(job.model, settings.ema_decay, state.average if state else None)
    position = RunPosition.of(state)
    if state is not None:
        job.log.keep_until(position.step, position.evaluated)
    evaluation: Evaluation | None = None

    shown = fabric.is_global_zero
    with (
        StopRequest() as stop,
        Progress("train", settings.steps, "step", shown=shown) as progress,
        StepGuard(fabric, job, settings, step),
    ):
        progress.start_at(position.step)
        batches = position.fetched(job.batches(position.step))
        while True:
            last, stopping = position.finished(settings), stop.agreed(fabric)
            done, unmeasured = position.step, position.evaluated != position.step
            measuring = job.evaluate and unmeasured and (last or due(done, settings.evaluate_every))
            saving = done > 0 and (last or stopping or measuring or due(done, settings.save_every))
            if measuring or saving:
                step.settle()
            if last and job.statistics and unmeasured:
                with average.in_model():
                    batches_seen = recompute_bn(job.model, job.statistics())
                job.log.line(f"batch normalisation: statistics of {batches_seen} batches")
            if measuring:
                save(fabric, job, step.optimizer, average, position)  # whatever may end the evaluation
                try:
                    with average.in_model():
                        evaluation = measure(fabric, job, settings, position, stop, progress)
                except Interrupted:
                    fabric.barrier()  # the end of one process makes its launcher end the others: not before it is saved
                    raise
                if not last and position.finished(settings):
                    continue
            if saving:
                save(fabric, job, step.optimizer, average, position)
            if last:
                return Trained(position.step, evaluation, position.step < settings.steps, position.best)
            if stopping:
                fabric.barrier()
                raise Interrupted

            stepped = step.run(position.step, [next(batches) for _ in range(settings.accumulate)])
            position.window.add(stepped.terms, stepped.norm)
            average.update()
            position.step += 1

            position.window.add_images(job.step_images)
            position.spent.add_images(job.step_images)
            progress.update(position.step, f"loss {sum(stepped.terms.values()):.4g}")
            if progress.made == 3:
                say_time(job, settings, progress)
            if due(position.step, settings.log_every) or position.step == settings.steps:
                log_step(fabric, job, position, step.optimizer, progress)


def save(fabric: Any, job: Job, optimizer: Any, average: WeightAverage, position: RunPosition) -> None:
    """Writes the state and then the weights: the state alone decides where a resumed run starts.

    Args:
        fabric: a launched Fabric; the first of its processes writes.
        job: the training, whose run folder is written to.
        optimizer: its moments are in the state.
        average: moving average of the weights, which last.safetensors has instead of them where there is one.
        position: the step reached, and what else is counted.
    """
    spent = position.spent.state(fabric)
    if not fabric.is_global_zero:
        return
    job.run.check_lock()
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
        conventions=job.metadata.get("conventions", {}),
        spent=spent,
    )
    save_state(job.run.state, state)
    save_weights(job.run.last, averages or model, {**job.metadata, "step": position.step})
