"""The pieces of one optimizer step: its random stream, its learning rate, its loss terms, its shares, its gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from toolkit.contracts import Schedule
from toolkit.engine.optim import warmed_up
from toolkit.engine.settings import TrainSettings
from toolkit.models.vision_model import VisionModel
from toolkit.ops.padding import legal_size, pad_targets
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


def summed(losses: Mapping[str, Tensor]) -> Tensor:
    """The scalar that is differentiated."""
    return torch.stack(list(losses.values())).sum()


def add_terms(terms: dict[str, float], values: Mapping[str, float], parts: int) -> None:
    """Adds a batch's share, one of `parts`, to the step's loss terms."""
    for name, value in values.items():
        terms[name] = terms.get(name, 0.0) + value / parts


def gradient_norm(fabric: Any, optimizer: Any, clip_norm: float | None) -> Tensor:
    """Norm of all gradients before clipping, on the device; with `clip_norm` they are then scaled down to it.

    One pass over the gradients: about the cost of reading them once. With float16 the scaler's factor is taken out first.
    """
    optimizer = getattr(optimizer, "optimizer", optimizer)  # Fabric's wrapper hides the kind that scalers look at
    scaler = getattr(fabric.strategy.precision, "scaler", None)
    if scaler is not None:
        scaler.unscale_(optimizer)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
    return norm


def loss_shares(fabric: Any, model: VisionModel, batches: Sequence[Batch]) -> list[dict[str, float]]:
    """For each of this process's batches of one step, factors of its loss terms, by their names; 1 where there is none.

    A loss that is a mean over labelled pixels would give a pixel in a batch with few of them more weight than others:
    the mean of means is not the mean. The factor is the batch's denominator (`Head.loss_denominators`) over the mean of all
    batches of all processes. A single batch in a single process has no others, and costs nothing here.
    """
    if fabric.world_size == 1 and len(batches) == 1:
        return [{}]
    divisors = [_denominators(model, batch) for batch in batches]
    names = list(divisors[0])
    if not names:
        return [{} for _ in batches]
    table = torch.tensor([[float(divisor[name]) for name in names] for divisor in divisors])
    means = table.mean(0)
    if fabric.world_size > 1:
        means = fabric.all_reduce(means.to(fabric.device), reduce_op="mean").cpu()
    factors = torch.where(means > 0, table / means.clamp_min(torch.finfo(means.dtype).tiny), 1.0).tolist()
    return [dict(zip(names, row, strict=True)) for row in factors]


def shared(losses: Mapping[str, Tensor], shares: Mapping[str, float]) -> dict[str, Tensor]:
    """The loss terms of a batch times what it counts."""
    return {name: loss * shares[name] if name in shares else loss for name, loss in losses.items()}


def _denominators(model: VisionModel, batch: Batch) -> dict[str, Tensor]:
    size = legal_size((batch.images.shape[-2], batch.images.shape[-1]), model.spec.sizes)
    return model.head.loss_denominators(pad_targets(batch, size))
