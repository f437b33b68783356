"""The pieces of one optimizer step: its random stream, its learning rate, its loss terms, its gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from toolkit.contracts import Schedule
from toolkit.engine.schedules import warmed_up
from toolkit.engine.settings import TrainSettings
from toolkit.errors import Problem, UserError
from toolkit.samples import Batch


def due(step: int, every: int | None) -> bool:
    """Whether something done `every` so many steps is to be done after `step` of them."""
    return bool(every) and step > 0 and step % (every or 1) == 0


def step_seed(seed: int, step: int, rank: int) -> int:
    """One random stream a step and process (dropout, sampling of boxes): odd multipliers keep them apart."""
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) % (1 << 63)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, schedule: Schedule | None, step: int, settings: TrainSettings
) -> float:
    """The rate of this update, of the group trained fastest."""
    factor = schedule.factor(step, settings.steps) if schedule else 1.0
    factor = warmed_up(factor, step, settings.warmup_steps, settings.warmup_factor)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return max(group["lr"] for group in optimizer.param_groups)


def add_finite(terms: dict[str, float], losses: Mapping[str, Tensor], step: int, batch: Batch, parts: int) -> None:
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


def gradient_norm(fabric: Any, module: Any, optimizer: torch.optim.Optimizer, clip_norm: float | None) -> float | None:
    """The norm before clipping; None when nothing is clipped (it would cost a pass over the gradients)."""
    if clip_norm is None:
        return None
    norm = fabric.clip_gradients(module, optimizer, max_norm=clip_norm, error_if_nonfinite=False)
    return float(norm)
