"""What each batch of a step counts, so that several batches and processes make the step of all their pixels together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from toolkit.models.vision_model import VisionModel
from toolkit.ops.padding import legal_size, pad_targets
from toolkit.samples import Batch


def batch_shares(fabric: Any, model: VisionModel, batches: Sequence[Batch]) -> list[dict[str, float]]:
    """For each of this process's batches of one step, factors of its loss terms, by their names; 1 where there is none.

    A loss that is a mean over labelled pixels would give a pixel in a batch with few of them more weight than others:
    the mean of means is not the mean. The factor is the batch's amount (`Head.amounts`) over the mean amount of all
    batches of all processes. A single batch in a single process has no others, and costs nothing here.
    """
    if fabric.world_size == 1 and len(batches) == 1:
        return [{}]
    amounts = [_amounts(model, batch) for batch in batches]
    names = list(amounts[0])
    if not names:
        return [{} for _ in batches]
    table = torch.tensor([[float(amount[name]) for name in names] for amount in amounts])
    means = table.mean(0)
    if fabric.world_size > 1:
        means = fabric.all_reduce(means.to(fabric.device), reduce_op="mean").cpu()
    factors = torch.where(means > 0, table / means.clamp_min(torch.finfo(means.dtype).tiny), 1.0).tolist()
    return [dict(zip(names, row, strict=True)) for row in factors]


def shared(losses: Mapping[str, Tensor], shares: Mapping[str, float]) -> dict[str, Tensor]:
    """The loss terms of a batch times what it counts."""
    return {name: loss * shares[name] if name in shares else loss for name, loss in losses.items()}


def _amounts(model: VisionModel, batch: Batch) -> dict[str, Tensor]:
    size = legal_size((batch.images.shape[-2], batch.images.shape[-1]), model.spec.sizes)
    return model.head.amounts(pad_targets(batch, size))
