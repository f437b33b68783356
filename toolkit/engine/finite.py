"""Losses and gradients are finite, or the run stops before they reach the weights, leaving a batch to replay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from toolkit.engine.async_scalars import AsyncScalars
from toolkit.engine.job import Job
from toolkit.engine.replay import BadBatch, save_bad_batch
from toolkit.engine.run_folder import NONFINITE_FILE
from toolkit.errors import Problem, UserError
from toolkit.samples import Batch


class StepRecord(NamedTuple):
    """Where numbers come from: the step, the batch, the seed of its random stream, and its shares (`shares.py`)."""

    step: int
    seed: int
    batch: Batch
    shares: Mapping[str, float] = {}


class FiniteCheck:
    """Looks at every loss and every gradient norm without making a GPU wait.

    The loss is read after the backward pass is launched, and before the optimizer's step. The gradient norm, on a GPU,
    is read a step later: until then the device itself leaves out the optimizer's step when it is not finite (fused
    optimizers take that flag, as float16's scaler gives it). So the weights are those that made the number. With
    float16 gradients that are not finite are the scaler's to skip, and no error.
    """

    def __init__(self, fabric: Any, job: Job) -> None:
        self.fabric, self.job = fabric, job
        self.scaled = getattr(fabric.strategy.precision, "scaler", None) is not None
        self._pending: tuple[AsyncScalars, StepRecord] | None = None

    def losses(self, scalars: AsyncScalars, record: StepRecord) -> dict[str, float]:
        """The terms of a batch. Raises UserError, after saving the batch, when one is not finite."""
        values = scalars.values()
        self.settle()
        if not all(map(math.isfinite, values.values())):
            self._stop("the loss is not finite", values, record)
        return values

    def gradient(self, norm: Tensor, optimizer: Any, record: StepRecord) -> AsyncScalars:
        """Sees to it that a norm that is not finite leaves the weights alone and ends the run."""
        scalars = AsyncScalars({"gradient_norm": norm})
        if not self.scaled:
            self._pending = (scalars, record)
            if norm.device.type == "cuda":
                raw = getattr(optimizer, "optimizer", optimizer)
                raw.found_inf = (~torch.isfinite(norm)).float()
            else:
                self.settle()
        return scalars

    def settle(self) -> None:
        """Raises if the last gradient was not finite; to be called before anything is saved or measured."""
        if self._pending is not None:
            (scalars, record), self._pending = self._pending, None
            values = scalars.values()
            if not math.isfinite(values["gradient_norm"]):
                self._stop("the loss is finite, but its gradient is not", values, record)

    def _stop(self, what: str, values: Mapping[str, float], record: StepRecord) -> NoReturn:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        message = f"{what} at step {record.step}: {shown}; images of the batch: {', '.join(record.batch.names)}"
        remedy = "lower train.optimizer.lr, add train.warmup_steps or train.clip_norm"
        if self.job.kept:
            path = self._save(values, record)
            message = f"{message}; saved as {path}"
            remedy = f"see where it begins with `toolkit train CONFIG --replay {path}`; {remedy}"
        raise UserError(Problem("train", message, remedy))

    def _save(self, values: Mapping[str, float], record: StepRecord) -> Path:
        rank, model = self.fabric.global_rank, self.job.model
        path = self.job.run.path / (NONFINITE_FILE if rank == 0 else f"rank{rank}_{NONFINITE_FILE}")
        terms, classes = dict(values), list(model.classes)
        save_bad_batch(
            path,
            BadBatch(record.step, record.seed, terms, record.batch, model.state_dict(), self.job.config_text, classes),
        )
        return path
