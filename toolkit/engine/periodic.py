"""What a training does every so many steps beside training: a line and an event, an evaluation, the time it expects."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from toolkit.contracts import Evaluator
from toolkit.engine.evaluate import Evaluation
from toolkit.engine.interrupt import StopRequest
from toolkit.engine.job import Job
from toolkit.engine.log import table
from toolkit.engine.position import RunPosition
from toolkit.engine.process import share_buffers
from toolkit.engine.settings import TrainSettings
from toolkit.errors import listed
from toolkit.models.weights import save_weights
from toolkit.progress import Progress, duration


def log_step(
    fabric: Any, job: Job, position: RunPosition, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """One event and one line for the steps since the last; the window begins anew.

    Args:
        fabric: a launched Fabric; the numbers are the means over its processes.
        job: the training, whose log is written to.
        position: the step reached, and the sums since the last line.
        optimizer: its groups' learning rates are told.
        progress: the bar, which steps aside and knows the time left.
    """
    means, speed = _over_processes(fabric, position.window.means()), position.window.speed()
    norm = means.pop("gradient_norm")
    rates = learning_rates(optimizer)
    step, epoch, loss = position.step, job.epoch(position.step), sum(means.values())
    terms = {f"loss/{name}": value for name, value in means.items()}
    memory = memory_mib(fabric.device)
    numbers = {**rates, "loss": loss, **terms, "gradient_norm": norm, **speed, "memory_mib": memory}
    job.log.event(step=step, epoch=round(epoch, 3), **numbers, **position.spent.shown(fabric))
    progress.clear()
    inside = f" ({' '.join(f'{name} {value:.4g}' for name, value in means.items())})" if len(means) > 1 else ""
    job.log.line(
        f"step {step}/{progress.total}  epoch {epoch:.2f}  loss {loss:.4f}{inside}  lr {rates['lr']:.2e}  "
        f"grad {norm:.3g}  {speed['images_per_second']:.1f} img/s  data wait {100 * speed['data_wait']:.0f} %  "
        f"{memory:.0f} MiB  eta {duration(progress.seconds_left)}"
    )
    position.window.reset()


def learning_rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """That of the group trained fastest as "lr", and where they differ each as "lr/GROUP"."""
    rates = [group["lr"] for group in optimizer.param_groups]
    named = {f"lr/{group.get('name', place)}": group["lr"] for place, group in enumerate(optimizer.param_groups)}
    return {"lr": max(rates), **(named if len(set(rates)) > 1 else {})}


def memory_mib(device: torch.device) -> float:
    """Largest memory of the run's tensors on a GPU so far; elsewhere what this process holds now. MiB."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return round(pages * resource.getpagesize() / 2**20, 1)
    except OSError:  # no /proc: the largest so far is what the system tells
        unit = 1 if sys.platform == "darwin" else 1024
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)


def say_time(job: Job, settings: TrainSettings, progress: Progress) -> None:
    """Says what the whole will take, from the steps so far without the first, which warms up.

    Args:
        job: the training, for the images a step and an evaluation have.
        settings: how many steps there are, and how often it evaluates.
        progress: how long the steps so far took.
    """
    each, left = progress.seconds_each, progress.total - progress.done
    evaluations = _evaluations(settings, progress.done) if job.evaluate else 0
    # A forward pass is about a third of a step: backward takes twice as long.
    measuring = evaluations * job.val_images * each / job.step_images / 3
    text = f"{left} more steps of {each:.3g} s"
    if evaluations:
        text += f" and {evaluations} evaluation{'s' if evaluations > 1 else ''} of about {duration(measuring / evaluations)}"
    progress.clear()
    job.log.line(f"time       about {duration(each * left + measuring)}: {text}")


def _evaluations(settings: TrainSettings, done: int) -> int:
    """How many come after `done` steps; the last is at the end."""
    every = settings.evaluate_every or settings.steps
    return settings.steps // every - done // every + (settings.steps % every > 0)


def _over_processes(fabric: Any, means: dict[str, float]) -> dict[str, float]:
    """Every process sees its own share of each batch; the log tells of all of it."""
    if fabric.world_size == 1:
        return means
    values = fabric.all_reduce(torch.tensor(list(means.values()), device=fabric.device), reduce_op="mean")
    return dict(zip(means, values.tolist(), strict=True))


def measure(
    fabric: Any, job: Job, settings: TrainSettings, position: RunPosition, stop: StopRequest, progress: Progress
) -> Evaluation:
    """Evaluates, logs, and keeps the weights when they are the best so far; returns what was measured.

    Args:
        fabric: a launched Fabric; each of its processes measures its share of the images.
        job: the training; its model is measured with the weights that are in it.
        settings: how many evaluations without a better one end the run.
        position: takes the result: best, stale, and the step evaluated.
        stop: a request to stop that is looked at between batches.
        progress: the bar, which steps aside.

    Raises Interrupted when a stop was asked for, nothing being changed.
    """
    progress.clear()
    assert job.evaluate is not None  # without validation data nothing is due
    share_buffers(fabric, job.model)  # all measure with the running statistics that are saved
    ended = position.finished(settings)
    result, step = job.evaluate(stop, last=True) if ended else job.evaluate(stop), position.step
    values = {f"val/{name}": value for name, value in {**result.metrics, **result.losses}.items()}
    job.log.event(step=step, epoch=round(job.epoch(step), 3), **values, **position.spent.shown(fabric))
    value = result.metrics.get(job.judge.metric) if job.judge is not None else None
    better = value is not None and _is_best(job, value, position.best)
    _say(job, position, result, value, better)
    position.evaluated = step
    if better and value is not None:
        position.best = {"value": value, "step": step}
        if fabric.is_global_zero:
            metadata = {**job.metadata, "step": step, "metrics": result.metrics}
            save_weights(job.run.best, job.model.state_dict(), metadata)
    if not ended:
        _count(job, settings, position, better)
    if job.judge is not None and position.finished(settings):
        for line in learnt_nothing(job.judge, result, position.best):
            job.log.line(line)
    return result


def learnt_nothing(judge: Evaluator, result: Evaluation, best: Mapping[str, float]) -> list[str]:
    """Lines for the end of a training whose numbers hide that it found nothing, or nothing of some classes.

    Args:
        judge: the evaluator whose metric decides what is best.
        result: the last evaluation, which knows what a constant answer would have had.
        best: the best value of the whole training, {} when no value was ever defined.
    """
    lines = []
    if result.constant is not None and best and not judge.better(best["value"], result.constant[1]):
        answer, value = result.constant
        shown = (
            f"the best {judge.metric}, {judge.shown(best['value'])}, is no better than {answer} ({judge.shown(value)})"
        )
        lines.append(f"note       {shown}: nothing was learnt that a constant does not know")
    if result.never_right:
        lines.append(f"note       never right in the last evaluation: {listed(result.never_right, 12)}")
    return lines


def _is_best(job: Job, value: float, best: Mapping[str, float]) -> bool:
    """Whether a metric is the best so far, in the direction its evaluator says; what is no number never is."""
    if math.isnan(value) or job.judge is None:
        return False
    return not best or job.judge.better(value, best["value"])


def _count(job: Job, settings: TrainSettings, position: RunPosition, better: bool) -> None:
    """Evaluations without a better one; the last of `patience` ends the run, once statistics (if any) are recomputed."""
    position.stale = 0 if better else position.stale + 1
    if position.finished(settings):
        best = position.best
        shown = f"; the best is {_shown(job, best['value'])} of step {best['step']:.0f}" if best else ""
        job.log.line(
            f"early stop at step {position.step}: {position.stale} evaluations without a better {_metric(job)}{shown}"
        )
        if job.statistics:
            position.evaluated = -1


def _metric(job: Job) -> str:
    return "" if job.judge is None else job.judge.metric


def _shown(job: Job, value: float | None) -> str:
    return "undefined" if value is None or job.judge is None else job.judge.shown(value)


def _say(job: Job, position: RunPosition, result: Evaluation, value: float | None, better: bool) -> None:
    for title, header, rows in result.tables:
        job.log.line(table(title, header, rows))
    if job.judge is None:
        return
    best = position.best
    mark = " *" if better else f" (best {_shown(job, best['value'])} at step {best['step']:.0f})" if best else ""
    loss = f"  loss {result.losses['loss']:.4f}" if result.losses.get("loss") is not None else ""
    loss += f" ({result.unlabelled} without a label left out)" if result.unlabelled else ""
    took = f"{result.images} images in {result.seconds:.1f} s"
    job.log.line(f"step {position.step}  val {job.judge.metric} {_shown(job, value)}{mark}{loss}  {took}")
