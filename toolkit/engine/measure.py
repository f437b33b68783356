"""An evaluation in the middle of a training: measured, logged, and the best weights kept."""

from __future__ import annotations

import math
from typing import Any

from toolkit.engine.evaluate import Evaluation
from toolkit.engine.interrupt import StopRequest
from toolkit.engine.job import Job
from toolkit.engine.log import table
from toolkit.engine.peers import share_buffers
from toolkit.engine.position import Position
from toolkit.engine.settings import TrainSettings
from toolkit.models.weights import save_weights
from toolkit.progress import Progress


def measure(
    fabric: Any, job: Job, settings: TrainSettings, position: Position, stop: StopRequest, progress: Progress
) -> dict[str, float | None]:
    """Evaluates, logs, and keeps the weights when they are the best so far. Raises Interrupted, nothing then changed."""
    progress.clear()
    if job.evaluate is None:
        return {}
    share_buffers(fabric, job.model)  # all measure with the running statistics that are saved
    ended = position.finished(settings)
    result, step = job.evaluate(stop), position.step
    values = {f"val/{name}": value for name, value in {**result.metrics, **result.losses}.items()}
    job.log.event(step=step, epoch=round(job.epoch(step), 3), **values)
    value = result.metrics.get(job.best_metric) if job.best_metric else None
    better = value is not None and value > position.best.get("value", -math.inf)
    _say(job, position, result, value, better)
    position.evaluated = step
    if better and value is not None:
        position.best = {"value": value, "step": step}
        if fabric.is_global_zero:
            metadata = {**job.metadata, "step": step, "metrics": result.metrics}
            save_weights(job.run.best, job.model.state_dict(), metadata)
    if not ended:
        _count(job, settings, position, better)
    return result.metrics


def _count(job: Job, settings: TrainSettings, position: Position, better: bool) -> None:
    """Evaluations without a better one; the last of `patience` ends the run, once statistics (if any) are recomputed."""
    position.stale = 0 if better else position.stale + 1
    if position.finished(settings):
        best = position.best
        shown = f"; the best is {100 * best['value']:.2f} of step {best['step']:.0f}" if best else ""
        job.log.line(
            f"early stop at step {position.step}: {position.stale} evaluations without a better {job.best_metric}{shown}"
        )
        if job.statistics:
            position.evaluated = -1


def _say(job: Job, position: Position, result: Evaluation, value: float | None, better: bool) -> None:
    for title, header, rows in result.tables:
        job.log.line(table(title, header, rows))
    if not job.best_metric:
        return
    best = position.best
    shown = "undefined" if value is None else f"{100 * value:.2f}"
    mark = " *" if better else f" (best {100 * best['value']:.2f} at step {best['step']:.0f})" if best else ""
    loss = f"  loss {result.losses['loss']:.4f}" if result.losses.get("loss") is not None else ""
    took = f"{result.images} images in {result.seconds:.1f} s"
    job.log.line(f"step {position.step}  val {job.best_metric} {shown}{mark}{loss}  {took}")
