"""Evaluation: every image once, whatever the number of processes; evaluators see predictions and truths, nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from toolkit.contracts import Evaluator
from toolkit.engine.interrupt import Interrupted, StopRequest
from toolkit.engine.validation_loss import ValidationLoss, predict_and_measure
from toolkit.errors import ConfigError, Problem
from toolkit.models.out_of_memory import memory_explained
from toolkit.models.vision_model import VisionModel
from toolkit.progress import Progress
from toolkit.samples import Batch

_REMEDIES = ("set evaluate.batch_size=1", "smaller images in data.val.transforms (labels are compared at full size)")


@dataclass(frozen=True)
class Evaluation:
    """metrics: fractions by name, None where undefined. tables: (title, header, rows). images, seconds: of this run.

    losses: "loss" and "loss/TERM", means over images, None where not finite; empty when they were not asked for.
    """

    metrics: dict[str, float | None]
    tables: list[tuple[str, list[str], list[list[str]]]]
    images: int
    seconds: float
    losses: dict[str, float | None] = field(default_factory=dict)


def evaluate(
    fabric: Any,
    model: VisionModel,
    loader: Iterable[Batch],
    evaluators: Sequence[Evaluator],
    *,
    images: int,
    stop: StopRequest | None = None,
    with_loss: bool = False,
) -> Evaluation:
    """Runs a model over a loader whose batches carry truths, and returns the merged numbers (the same in every process).

    fabric: a launched Fabric. evaluators: fresh ones. images: how many there are, for the progress. stop: looked at
    between batches; raises Interrupted, in every process when one was asked. with_loss: also the loss of each image,
    see `validation_loss.py`. The model's training flags are put back.
    """
    began = time.monotonic()
    flags = {module: module.training for module in model.modules()}
    model.eval()
    loss = ValidationLoss() if with_loss else None
    seen = 0
    try:
        with Progress("evaluate", images, "img", shown=fabric.is_global_zero) as progress, torch.inference_mode():
            for batch in loader:
                if stop is not None and stop.requested:
                    break
                on_device = fabric.to_device(batch._replace(truths=()))
                with fabric.autocast(), memory_explained("evaluation", model, _REMEDIES):
                    predictions = predict_and_measure(model, on_device, loss) if loss else model.predict(on_device)
                for evaluator in evaluators:
                    evaluator.update(predictions, batch.truths)
                seen += len(batch.names)
                progress.update(min(seen * fabric.world_size, images))
    finally:
        _restore(flags)
    if stop is not None and stop.agreed(fabric):
        raise Interrupted
    _merge(fabric, evaluators, loss)
    metrics: dict[str, float | None] = {}
    for evaluator in evaluators:
        numbers = evaluator.compute()
        doubled = sorted(set(numbers) & set(metrics))
        if doubled:
            raise ConfigError(Problem("evaluate.evaluators", f"two evaluators both give {', '.join(doubled)}"))
        metrics.update(numbers)
    tables = [table for evaluator in evaluators for table in evaluator.tables()]
    return Evaluation(metrics, tables, images, time.monotonic() - began, loss.compute() if loss else {})


def _restore(flags: dict[nn.Module, bool]) -> None:
    for module, training in flags.items():
        module.training = training


def _merge(fabric: Any, evaluators: Sequence[Evaluator], loss: ValidationLoss | None) -> None:
    """Every process gets every other's state, merged in the order of ranks."""
    if fabric.world_size == 1:
        return
    states: list[Any] = [None] * fabric.world_size
    own = [evaluator.state() for evaluator in evaluators]
    torch.distributed.all_gather_object(states, (own, loss.terms if loss else {}))
    for rank, (others, terms) in enumerate(states):
        if rank != fabric.global_rank:
            for evaluator, state in zip(evaluators, others, strict=True):
                evaluator.merge(state)
            if loss is not None:
                loss.merge(terms)
