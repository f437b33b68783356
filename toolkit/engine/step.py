"""The one training step: loss terms of micro-batches, their gradients, one update of the weights, all of it finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from toolkit.contracts import PixelLoss, Schedule
from toolkit.engine.async_scalars import AsyncScalars
from toolkit.engine.finite import FiniteCheck, StepRecord
from toolkit.engine.optim import warmed_up
from toolkit.engine.parameters import LateParts
from toolkit.engine.process import on_device, sum_over_processes
from toolkit.engine.settings import TrainSettings
from toolkit.models.vision_model import VisionModel
from toolkit.ops.padding import legal_size, pad_targets
from toolkit.samples import Batch


class Stepped(NamedTuple):
    """What a step made of its batches: loss terms by name, and the gradient norm, on its way from the device."""

    terms: dict[str, float]
    norm: AsyncScalars


class TrainingStep:
    """An optimizer and the loss that it lowers: `run` takes the micro-batches of a step and updates the weights once.

    It owns its optimizer and leaves no trace elsewhere: several steps, over models of their own or over parts of one
    (each optimizer having its part of the parameters), may take turns in one loop, between micro-batches too. With
    float16, whose one scaler serves all optimizers, they have to come one after the other.

    Args:
        fabric: a launched Fabric, or `OneProcess` where nothing is launched.
        module: gives {term: loss} of a batch, as `fabric.setup` wraps it; its attribute `model` is the net.
        optimizer: the optimizer as `fabric.setup` wraps it, each group with its "base_lr"; None for passes that update
            nothing.
        settings: settings of the training, of which it takes steps, accumulate, clip_norm, warm-up and freeze_until.
        schedule: factor of the base learning rate by step; None keeps the rate.
        seed: seed of the run, from which every micro-batch's random stream follows.
        stop_at_nonfinite: whether `run` raises UserError for a loss or gradient that is not finite.
        folder: run folder where a batch that is not finite is saved; None saves none.
        config: the resolved YAML of the run, saved with such a batch.
    """

    def __init__(
        self,
        fabric: Any,
        module: Any,
        optimizer: Any,
        settings: TrainSettings,
        *,
        schedule: Schedule | None = None,
        seed: int = 0,
        stop_at_nonfinite: bool = True,
        folder: Path | None = None,
        config: str = "",
    ) -> None:
        self.fabric, self.module, self.optimizer, self.settings = fabric, module, optimizer, settings
        self.model: VisionModel = module.model
        self.schedule, self.seed = schedule, seed
        self.current: tuple[int, Batch | None] = (0, None)
        """Updates made before the present one, and its micro-batch: for messages."""
        self._check = FiniteCheck(fabric, self.model, self._finite_again, folder, config) if stop_at_nonfinite else None
        self._losses = (
            [one for one in self.model.modules() if isinstance(one, PixelLoss)] if fabric.world_size > 1 else []
        )
        self._sum = torch.compiler.disable(sum_over_processes) if settings.compile else sum_over_processes
        groups = optimizer.param_groups if optimizer is not None else []
        self._own = [parameter for group in groups for parameter in group["params"]]
        self._late = LateParts(self.model, settings.freeze_until, self._own)
        own = {id(parameter) for parameter in self._own}
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._others = [p for p in trained if id(p) not in own] if groups else []

    def run(self, step: int, batches: Sequence[Batch]) -> Stepped:
        """One update, from `settings.accumulate` micro-batches (another number counts each its share as well).

        step: updates made before it. Raises UserError, the weights being as they were, when something is not finite.
        """
        set_learning_rate(self.optimizer, self.schedule, step, self.settings)
        shares = loss_shares(self.fabric, self.model, batches)
        records = []
        for number, batch in enumerate(batches):
            seed = step_seed(self.seed, step * len(batches) + number, self.fabric.global_rank)
            records.append(self.accumulate(step, batch, seed, shares[number], number + 1, len(batches)))
        return self.update(step, records)

    def accumulate(
        self, step: int, batch: Batch, seed: int, shares: Mapping[str, float], number: int, parts: int
    ) -> StepRecord:
        """Adds the gradients of micro-batch `number` of `parts`, counted from 1.

        Args:
            step: updates made before this one, for messages.
            batch: the images and labels of this process's micro-batch.
            seed: seed of the random stream of its dropout and sampling.
            shares: factors of its loss terms, as `loss_shares` gives them.
            number: number of the micro-batch; gradients of several processes are joined at the last.
            parts: how many micro-batches the step has.
        """
        self.current, last = (step, batch), number == parts
        with self.fabric.no_backward_sync(self.module, enabled=not last), self._others_at_rest():
            losses = self.losses(batch, seed, shares)
            scalars = AsyncScalars(losses)
            self.backward(losses, parts)
        # One pass over the gradients; with a single batch, the most usual, none.
        norm = None if last else AsyncScalars({"gradient_norm": self._local_norm()})
        return StepRecord(step, seed, batch, shares, scalars, norm)

    def losses(self, batch: Batch, seed: int, shares: Mapping[str, float] | None = None) -> dict[str, Tensor]:
        """The loss terms of a batch under its own random stream.

        Args:
            batch: images and labels, which are moved to the device.
            seed: of the random stream of dropout and sampling.
            shares: factors of the terms by name, as `loss_shares` gives them; None for 1 each.
        """
        torch.manual_seed(seed)
        with self._sums_of_all():
            return apply_shares(self.module(on_device(self.fabric, batch)), shares or {})

    def backward(self, losses: Mapping[str, Tensor], parts: int = 1) -> None:
        """Adds the gradients of the sum of the terms, divided by `parts`; all are NaN where the sum is not finite."""
        total = torch.stack(list(losses.values())).sum()
        # The factor is exactly 1 otherwise. So every process learns of one's loss with the gradients they exchange.
        self.fabric.backward(total * (0 * total.detach() + 1) / parts)

    def update(self, step: int, records: Sequence[StepRecord]) -> Stepped:
        """Moves the weights along the gradients of the micro-batches, and drops the gradients."""
        self._late.drop_gradients(step)
        norm = gradient_norm(self.fabric, self.optimizer, self.settings.clip_norm)
        scalars = AsyncScalars({"gradient_norm": norm})
        # The step's one wait for the device. A GPU's norm is read at the next step's, when it has long been there.
        late = norm.device.type == "cuda"
        AsyncScalars.fetch([*[record.losses for record in records], *([] if late else [scalars])])
        terms: dict[str, float] = {}
        for record in records:
            for name, value in record.losses.values().items():
                terms[name] = terms.get(name, 0.0) + value / len(records)
        if self._check is not None:
            self._check.watch(scalars, norm, self.optimizer, records)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return Stepped(terms, scalars)

    def settle(self) -> None:
        """Raises UserError if the last step was not finite; to be called before anything is saved or measured."""
        if self._check is not None:
            self._check.settle()

    @contextmanager
    def _sums_of_all(self) -> Iterator[None]:
        """Within it, losses that divide sums over pixels take the sums of all processes (and alone, as in an evaluation, not)."""
        for loss in self._losses:
            loss.sum_over_processes = self._sum
        try:
            yield
        finally:
            for loss in self._losses:
                loss.sum_over_processes = None

    @contextmanager
    def _others_at_rest(self) -> Iterator[None]:
        """Within it, parameters of other optimizers get no gradient."""
        for parameter in self._others:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self._others:
                parameter.requires_grad_(True)

    def _local_norm(self) -> Tensor:
        return torch.nn.utils.get_total_norm([parameter.grad for parameter in self._own if parameter.grad is not None])

    def _finite_again(self, record: StepRecord) -> bool:
        """Whether a micro-batch, done once more in this process alone, gives a finite gradient; buffers are put back."""
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        self.optimizer.zero_grad(set_to_none=True)
        with self.fabric.no_backward_sync(self.module, enabled=True), self._others_at_rest():
            self.backward(self.losses(record.batch, record.seed, record.shares))
        finite = bool(torch.isfinite(self._local_norm()))
        self.optimizer.zero_grad(set_to_none=True)
        for buffer, kept in buffers:
            buffer.copy_(kept)
        return finite


def due(step: int, every: int | None) -> bool:
    """Whether something done `every` so many steps is to be done after `step` of them."""
    return bool(every) and step > 0 and step % (every or 1) == 0


def step_seed(seed: int, step: int, rank: int) -> int:
    """One random stream a micro-batch and process (dropout, sampling of boxes): odd multipliers keep them apart.

    Args:
        seed: of the run, the same in all its processes.
        step: number of the micro-batch, counted through the whole training.
        rank: number of the process, from 0.
    """
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) % (1 << 63)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, schedule: Schedule | None, step: int, settings: TrainSettings
) -> float:
    """Sets the rate of each group for one update; returns that of the group trained fastest.

    Args:
        optimizer: each of its groups has its full rate as "base_lr".
        schedule: factor of the full rate by step, or None for 1.
        step: updates made before this one.
        settings: number of steps, and the warm-up that is laid over the schedule.
    """
    factor = schedule.factor(step, settings.steps) if schedule else 1.0
    factor = warmed_up(factor, step, settings.warmup_steps, settings.warmup_factor)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return max(group["lr"] for group in optimizer.param_groups)


def gradient_norm(fabric: Any, optimizer: Any, clip_norm: float | None) -> Tensor:
    """Norm of all gradients before clipping, on the device; with `clip_norm` they are then scaled down to it.

    One pass over the gradients: about the cost of reading them once. With float16 the scaler's factor is taken out first.

    Args:
        fabric: a launched Fabric, whose precision may have a scaler.
        optimizer: whose parameters' gradients are measured.
        clip_norm: the largest norm that stays as it is, or None to scale nothing.
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

    Args:
        fabric: a launched Fabric, whose processes share the step.
        model: its head says what each of its terms divides by.
        batches: the micro-batches of this process, on any device.
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


def apply_shares(losses: Mapping[str, Tensor], shares: Mapping[str, float]) -> dict[str, Tensor]:
    """The loss terms of a batch times what it counts."""
    return {name: loss * shares[name] if name in shares else loss for name, loss in losses.items()}


def _denominators(model: VisionModel, batch: Batch) -> dict[str, Tensor]:
    size = legal_size((batch.images.shape[-2], batch.images.shape[-1]), model.spec.sizes)
    return model.head.loss_denominators(pad_targets(batch, size))
