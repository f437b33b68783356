"""The training loop, to be read from top to bottom. It receives objects, never the config.

Everything counts in optimizer steps, and the step is the only counter: the data order, each sample's augmentation and
each step's random numbers are functions of (seed, step), so a resumed run is the uninterrupted run, to the bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.contracts import OptimizerRule, Schedule
from toolkit.engine.checkpoint import TrainState, save_state
from toolkit.engine.evaluate import Evaluation
from toolkit.engine.interrupt import Interrupted, StopRequest
from toolkit.engine.log import RunLog, table
from toolkit.engine.parameters import parameter_groups
from toolkit.engine.recompute_bn import recompute_bn
from toolkit.engine.run_folder import RunFolder
from toolkit.engine.schedules import warmed_up
from toolkit.engine.settings import TrainSettings
from toolkit.engine.window import LogWindow
from toolkit.errors import Problem, UserError
from toolkit.models.vision_model import VisionModel
from toolkit.models.weights import save_weights
from toolkit.progress import Progress, duration
from toolkit.samples import Batch


class LossModule(nn.Module):
    """What Fabric wraps: mixed precision reaches only a wrapped module's `forward`, so the loss has to be that."""

    def __init__(self, model: VisionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The named loss terms of a batch."""
        return self.model.loss(batch)


@dataclass
class Job:
    """Everything the loop needs, built elsewhere.

    batches: endless batches from a step on. evaluate: one evaluation, or None without validation data.
    best_metric: the number that decides which weights are kept as best. step_images: images a step, of all processes.
    metadata: written into every weights file. statistics: the batches over which batch normalisation is recomputed at
    the end, the same in every process, or None.
    """

    model: VisionModel
    rule: OptimizerRule
    schedule: Schedule | None
    batches: Callable[[int], Iterable[Batch]]
    evaluate: Callable[[StopRequest], Evaluation] | None
    best_metric: str | None
    images_per_epoch: int
    step_images: int
    seed: int
    run: RunFolder
    log: RunLog
    config_text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    statistics: Callable[[], Iterable[Batch]] | None = None


def train(fabric: Any, job: Job, settings: TrainSettings, state: TrainState | None = None) -> dict[str, float | None]:
    """Trains until `settings.steps`, from `state` when there is one; returns the last evaluation's numbers.

    Raises Interrupted after saving when a stop is asked for, UserError for a loss that is not finite.
    """
    module, optimizer, progress_state = _prepare(fabric, job, settings, state)
    step, best, evaluated, window = progress_state
    metrics: dict[str, float | None] = {}

    def save() -> None:
        if fabric.is_global_zero:
            _save(
                fabric,
                job,
                TrainState(
                    step,
                    job.model.state_dict(),
                    optimizer.state_dict(),
                    _scaler(fabric),
                    best,
                    evaluated,
                    dict(window.sums),
                    job.config_text,
                ),
            )

    with StopRequest() as stop, Progress("train", settings.steps, "step", shown=fabric.is_global_zero) as progress:
        progress.start_at(step)
        batches = _fetched(job.batches(step), window)
        while True:
            last = step == settings.steps
            if last and job.statistics and evaluated != step:
                number = recompute_bn(job.model, job.statistics())
                job.log.line(f"batch normalisation: statistics of {number} batches")
            if job.evaluate and evaluated != step and (last or _due(step, settings.evaluate_every)):
                try:
                    metrics = _evaluate(fabric, job, step, best, stop, progress)
                except Interrupted:
                    save()
                    raise
                evaluated = step
            if step > 0 and (last or stop.requested or _due(step, settings.save_every)):
                save()
            if last:
                break
            if stop.requested:
                raise Interrupted

            rate = _set_learning_rate(optimizer, job.schedule, step, settings)
            terms: dict[str, float] = {}
            for part in range(settings.accumulate):
                torch.manual_seed(_step_seed(job.seed, step * settings.accumulate + part, fabric.global_rank))
                batch = fabric.to_device(next(batches))
                with fabric.no_backward_sync(module, enabled=part < settings.accumulate - 1):
                    losses = module(batch)
                    total = torch.stack(list(losses.values())).sum()
                    _add_finite(terms, losses, step, batch, settings.accumulate)
                    fabric.backward(total / settings.accumulate)
            norm = _gradient_norm(fabric, module, optimizer, settings.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1

            window.add({**terms, **({"gradient_norm": norm} if norm is not None else {})})
            window.took(job.step_images, 0.0)
            progress.update(step, f"loss {sum(terms.values()):.4g}")
            if _due(step, settings.log_every) or step == settings.steps:
                _log(fabric, job, step, rate, window, progress)
    return metrics


def _prepare(
    fabric: Any, job: Job, settings: TrainSettings, state: TrainState | None
) -> tuple[Any, torch.optim.Optimizer, tuple[int, dict[str, float], int, LogWindow]]:
    """Model and optimizer on their device, with the saved state in them."""
    groups = parameter_groups(
        job.model,
        job.rule.lr,
        backbone_lr_factor=settings.backbone_lr_factor,
        decay_norm_and_bias=settings.decay_norm_and_bias,
        bias_lr_factor=settings.bias_lr_factor,
        frozen=settings.frozen,
    )
    if not groups:
        raise UserError(Problem("train", "no parameter of the model is trained", "unfreeze a part"))
    optimizer = job.rule.build(groups)
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    job.model.train()
    module, optimizer = fabric.setup(LossModule(job.model), optimizer)
    if state is None:
        return module, optimizer, (0, {}, -1, LogWindow())
    job.model.load_state_dict(state.model)
    optimizer.load_state_dict(state.optimizer)
    if state.scaler:
        fabric.strategy.precision.load_state_dict(state.scaler)
    job.log.keep_until(state.step)
    return module, optimizer, (state.step, dict(state.best), state.evaluated, LogWindow(state.window))


def _due(step: int, every: int | None) -> bool:
    return bool(every) and step > 0 and step % (every or 1) == 0


def _step_seed(seed: int, step: int, rank: int) -> int:
    """One random stream a step and process (dropout, sampling of boxes): odd multipliers keep them apart."""
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) % (1 << 63)


def _fetched(batches: Iterable[Batch], window: LogWindow) -> Iterator[Batch]:
    """The batches, with the time spent waiting for each noted."""
    iterator = iter(batches)
    while True:
        began = time.monotonic()
        batch = next(iterator)
        window.took(0, time.monotonic() - began)
        yield batch


def _set_learning_rate(
    optimizer: torch.optim.Optimizer, schedule: Schedule | None, step: int, settings: TrainSettings
) -> float:
    """The rate of this update, of the group trained fastest."""
    factor = schedule.factor(step, settings.steps) if schedule else 1.0
    factor = warmed_up(factor, step, settings.warmup_steps, settings.warmup_factor)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return max(group["lr"] for group in optimizer.param_groups)


def _add_finite(terms: dict[str, float], losses: Mapping[str, Tensor], step: int, batch: Batch, parts: int) -> None:
    """Adds a batch's terms to the step's; a term that is not finite ends the run before it reaches the weights."""
    values = dict(zip(losses, torch.stack([loss.detach().float() for loss in losses.values()]).tolist(), strict=True))
    if not all(math.isfinite(value) for value in values.values()):
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        message = f"the loss is not finite at step {step}: {shown}; images of the batch: {', '.join(batch.names)}"
        raise UserError(
            Problem("train", message, "lower train.optimizer.lr, add train.warmup_steps or train.clip_norm")
        )
    for name, value in values.items():
        terms[name] = terms.get(name, 0.0) + value / parts


def _gradient_norm(fabric: Any, module: Any, optimizer: torch.optim.Optimizer, clip_norm: float | None) -> float | None:
    """The norm before clipping; None when nothing is clipped (it would cost a pass over the gradients)."""
    if clip_norm is None:
        return None
    norm = fabric.clip_gradients(module, optimizer, max_norm=clip_norm, error_if_nonfinite=False)
    return float(norm)


def _evaluate(
    fabric: Any, job: Job, step: int, best: dict[str, float], stop: StopRequest, progress: Progress
) -> dict[str, float | None]:
    """Evaluates, logs, and keeps the weights when they are the best so far (`best` is changed in place)."""
    progress.clear()
    if job.evaluate is None:
        return {}
    result = job.evaluate(stop)
    epoch = step * job.step_images / max(job.images_per_epoch, 1)
    job.log.event(step=step, epoch=round(epoch, 3), **{f"val/{name}": value for name, value in result.metrics.items()})
    value = result.metrics.get(job.best_metric) if job.best_metric else None
    better = value is not None and value > best.get("value", -math.inf)
    for title, header, rows in result.tables:
        job.log.line(table(title, header, rows))
    if job.best_metric:
        shown = "undefined" if value is None else f"{100 * value:.2f}"
        mark = " *" if better else f" (best {100 * best['value']:.2f} at step {best['step']:.0f})" if best else ""
        job.log.line(
            f"step {step}  val {job.best_metric} {shown}{mark}  {result.images} images in {result.seconds:.1f} s"
        )
    if better and value is not None:
        best.update(value=value, step=step)
        if fabric.is_global_zero:
            save_weights(
                job.run.best, job.model.state_dict(), {**job.metadata, "step": step, "metrics": result.metrics}
            )
    return result.metrics


def _save(fabric: Any, job: Job, state: TrainState) -> None:
    """The state first: it alone decides where a resumed run starts."""
    save_state(job.run.state, state)
    save_weights(job.run.last, state.model, {**job.metadata, "step": state.step})


def _scaler(fabric: Any) -> dict[str, Any]:
    return dict(fabric.strategy.precision.state_dict())


def _over_processes(fabric: Any, means: dict[str, float]) -> dict[str, float]:
    """Every process sees its own share of each batch; the log tells of all of it."""
    if fabric.world_size == 1:
        return means
    values = fabric.all_reduce(torch.tensor(list(means.values()), device=fabric.device), reduce_op="mean")
    return dict(zip(means, values.tolist(), strict=True))


def _log(fabric: Any, job: Job, step: int, rate: float, window: LogWindow, progress: Progress) -> None:
    """One event and one line for the steps since the last."""
    means, speed = _over_processes(fabric, window.means()), window.speed()
    norm = means.pop("gradient_norm", None)
    epoch = step * job.step_images / max(job.images_per_epoch, 1)
    extra = {"gradient_norm": norm} if norm is not None else {}
    terms = {f"loss/{name}": value for name, value in means.items()}
    job.log.event(step=step, epoch=round(epoch, 3), lr=rate, loss=sum(means.values()), **terms, **extra, **speed)
    progress.clear()
    inside = f" ({' '.join(f'{name} {value:.4g}' for name, value in means.items())})" if len(means) > 1 else ""
    job.log.line(
        f"step {step}/{progress.total}  epoch {epoch:.2f}  loss {sum(means.values()):.4f}{inside}  lr {rate:.2e}  "
        f"{speed['images_per_second']:.1f} img/s  data wait {100 * speed['data_wait']:.0f} %  "
        f"eta {duration(progress.seconds_left)}"
    )
    window.reset()
