"""The line and the event that a training writes every `log_every` steps."""

from __future__ import annotations

from typing import Any

import torch

from toolkit.engine.job import Job
from toolkit.engine.position import Position
from toolkit.progress import Progress, duration


def log_step(fabric: Any, job: Job, position: Position, rate: float, progress: Progress) -> None:
    """One event and one line for the steps since the last; the window begins anew."""
    means, speed = _over_processes(fabric, position.window.means()), position.window.speed()
    norm = means.pop("gradient_norm", None)
    step, epoch = position.step, job.epoch(position.step)
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
    position.window.reset()


def _over_processes(fabric: Any, means: dict[str, float]) -> dict[str, float]:
    """Every process sees its own share of each batch; the log tells of all of it."""
    if fabric.world_size == 1:
        return means
    values = fabric.all_reduce(torch.tensor(list(means.values()), device=fabric.device), reduce_op="mean")
    return dict(zip(means, values.tolist(), strict=True))
