"""Losses and gradients are finite, or the run stops before they reach the weights, leaving the guilty batch to replay."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from toolkit.engine.async_scalars import AsyncScalars
from toolkit.engine.process import gathered
from toolkit.engine.run_folder import NONFINITE_FILE
from toolkit.errors import CheckpointError, Problem, UserError, missing_path
from toolkit.files import replacing, writable
from toolkit.samples import Batch, Boxes

_FORMAT = 1
_LOSS = "the loss is not finite"
_GRADIENT = "the loss is finite, but its gradient is not"


class BadBatch(NamedTuple):
    """Everything that made the numbers.

    Args:
        step: updates that were made before this one; the log numbers the update itself, one more.
        seed: seed of the random stream of this batch.
        terms: what came out, loss terms or the norm of the gradient by name.
        batch: the images and their labels, on the CPU.
        model: the state dict before the optimizer's step.
        config: the resolved YAML of the run.
        classes: names, in the order of the labels.
        shares: factors of the loss terms by name (`step.loss_shares`).
    """

    step: int
    seed: int
    terms: dict[str, float]
    batch: Batch
    model: dict[str, Tensor]
    config: str
    classes: list[str]
    shares: dict[str, float] = {}  # noqa: RUF012 - never changed


def save_bad_batch(path: Path, bad: BadBatch) -> None:
    """Tensors and plain values, loadable with `weights_only=True`."""
    fields = {name: _plain(value) for name, value in bad.batch._asdict().items() if name != "truths"}
    with replacing(path) as part, writable(part) as file:
        torch.save({"format": _FORMAT, "kind": "nonfinite_batch", **bad._asdict(), "batch": fields}, file)


def load_bad_batch(path: Path) -> BadBatch:
    """Raises CheckpointError for a file that is missing, damaged or something else."""
    if not path.is_file():
        raise CheckpointError(missing_path("saved batch", path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of a damaged file's format
            raw = torch.load(path, map_location="cpu", weights_only=True)
        if raw["kind"] != "nonfinite_batch" or raw["format"] != _FORMAT:
            raise ValueError("another kind of file")
        fields = raw["batch"]
        boxes = fields["boxes"]
        fields["boxes"] = None if boxes is None else tuple(Boxes(*one) for one in boxes)
        fields["names"] = tuple(fields["names"])
        return BadBatch(**{name: raw[name] for name in BadBatch._fields if name in raw})._replace(batch=Batch(**fields))
    except Exception as error:  # torch raises many kinds for a damaged file; all mean the same to a user
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        message = f"is damaged, or not a batch that a training saved ({reason})"
        raise CheckpointError(Problem(path, message, f"give the {NONFINITE_FILE} of a run folder")) from error


class StepRecord(NamedTuple):
    """What one micro-batch of a step was, and what came of it: enough to do it again.

    Args:
        step: updates that were made before this one.
        seed: seed of the random stream of this micro-batch.
        batch: the micro-batch as it was loaded, on the CPU.
        shares: factors of the loss terms by name.
        losses: the loss terms, on their way from the device.
        norm: norm of the gradients of this and the earlier micro-batches in this process; None for the last one, whose
            gradients are those of all processes.
    """

    step: int
    seed: int
    batch: Batch
    shares: Mapping[str, float]
    losses: AsyncScalars
    norm: AsyncScalars | None


class Fault(NamedTuple):
    """what: of the loss or the gradient. number: of the micro-batch, from 0."""

    what: str
    number: int


class FiniteCheck:
    """Looks at every step's gradient norm without making a GPU wait, and on failure finds the batch that made it.

    A loss that is not finite makes all gradients so (`TrainingStep.backward`), hence the norm, the same number in every
    process, tells of both. On a GPU it is read a step later: until then the device itself leaves out the optimizer's
    step when it is not finite (fused optimizers take that flag, as float16's scaler gives it). So the weights are those
    that made the number. With float16 gradients that are not finite are the scaler's to skip and no error, as long as
    it still has a factor above 1 to lower.

    Args:
        fabric: a launched Fabric, or `OneProcess`.
        model: whose weights are saved beside the batch, with `classes` as its class names.
        finite_again: does a micro-batch again in this process alone; whether its gradient is finite.
        folder: run folder where the guilty batch is written; None writes nothing.
        config: the resolved YAML of the run, written into that file.
    """

    def __init__(
        self,
        fabric: Any,
        model: nn.Module,
        finite_again: Callable[[StepRecord], bool],
        folder: Path | None,
        config: str,
    ) -> None:
        self.fabric, self.model, self.finite_again = fabric, model, finite_again
        self.folder, self.config = folder, config
        self.scaler = getattr(fabric.strategy.precision, "scaler", None)
        self._pending: tuple[AsyncScalars, Sequence[StepRecord]] | None = None

    def watch(self, scalars: AsyncScalars, norm: Tensor, optimizer: Any, records: Sequence[StepRecord]) -> None:
        """Takes the gradient norm of a step; call it before the optimizer's step. Raises as `settle`.

        Args:
            scalars: the norm of all gradients of the step, on its way from the device.
            norm: the same on the device.
            optimizer: the optimizer, which leaves the step out when the norm is not finite.
            records: the step's batches, to be saved and blamed.
        """
        self.settle()
        self._pending = (scalars, records)
        if norm.device.type != "cuda":
            self.settle()
        elif self.scaler is None:
            getattr(optimizer, "optimizer", optimizer).found_inf = (~torch.isfinite(norm)).float()

    def settle(self) -> None:
        """Raises UserError if the last step was not finite; to be called before anything is saved or measured."""
        if self._pending is None:
            return
        (norm, records), self._pending = self._pending, None
        value = norm.values()["gradient_norm"]
        if not math.isfinite(value):
            self._explain(value, records)

    def _explain(self, norm: float, records: Sequence[StepRecord]) -> None:
        """Every process comes here, for the norm is that of all: they agree on whose micro-batch it was."""
        fault = _fault(records)
        faults = gathered(self.fabric, fault)
        if (
            self.scaler is not None
            and self.scaler.get_scale() > 1
            and not any(one and one.what == _LOSS for one in faults)
        ):
            return
        if not any(faults):
            fault = self._last_one(records)
        report = None if fault is None else self._report(fault, norm, records)
        reports = [one for one in gathered(self.fabric, report) if one is not None]
        what, _, path = next((one for one in reports if one[0].startswith(_LOSS)), reports[0])
        message = "; ".join([what, *(images for _, images, _ in reports)])
        remedy = "lower train.optimizer.lr, add train.warmup_steps or train.clip_norm"
        if path:
            remedy = f"see where it begins with `toolkit train CONFIG --replay {path}`; {remedy}"
        raise UserError(Problem("train", message, remedy))

    def _last_one(self, records: Sequence[StepRecord]) -> Fault | None:
        """After finite gradients of all the others it was the last micro-batch: of which process, doing it again tells."""
        last = Fault(_GRADIENT, len(records) - 1)
        if self.fabric.world_size == 1:
            return last
        found = None if self.finite_again(records[-1]) else last
        return found if any(gathered(self.fabric, found)) else last  # nobody's this time: all are suspects

    def _report(self, fault: Fault, norm: float, records: Sequence[StepRecord]) -> tuple[str, str, str]:
        """The batch saved; (what happened, which images, path or "")."""
        record = records[fault.number]
        values = record.losses.values() if fault.what == _LOSS else {"gradient_norm": norm}
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        rank, places = self.fabric.global_rank, []
        if len(records) > 1:
            places.append(f"{fault.number + 1} of {len(records)} of the step")
        if self.fabric.world_size > 1:
            places.append(f"process {rank + 1} of {self.fabric.world_size}")
        where = f" ({', '.join(places)})" if places else ""
        images = f"images of the batch{where}: {', '.join(record.batch.names)}"
        path = None
        if self.folder is not None:
            path = self.folder / (NONFINITE_FILE if rank == 0 else f"rank{rank}_{NONFINITE_FILE}")
            state, classes = self.model.state_dict(), list(self.model.classes)  # type: ignore[arg-type]
            bad = BadBatch(
                record.step, record.seed, values, record.batch, state, self.config, classes, dict(record.shares)
            )
            save_bad_batch(path, bad)
            images = f"{images}; saved as {path}"
        return f"{fault.what} at step {record.step + 1}: {shown}", images, str(path or "")


def _fault(records: Sequence[StepRecord]) -> Fault | None:
    """The first micro-batch of this process whose loss is not finite, else whose gradient is known not to be."""
    for number, record in enumerate(records):
        if not all(map(math.isfinite, record.losses.values().values())):
            return Fault(_LOSS, number)
    for number, record in enumerate(records):
        if record.norm is not None and not math.isfinite(record.norm.values()["gradient_norm"]):
            return Fault(_GRADIENT, number)
    return None


def _plain(value: Any) -> Any:
    """Tensors on the CPU in lists and tuples: what a file may hold."""
    if isinstance(value, Tensor):
        return value.detach().cpu().contiguous()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
