"""A batch whose loss or gradient was not finite, as a file; and the same step once more, to see where it begins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from toolkit.engine.run_folder import NONFINITE_FILE
from toolkit.engine.step import shared, summed
from toolkit.errors import CheckpointError, Problem, missing_path
from toolkit.files import replacing
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Batch, Boxes

_FORMAT = 1


class BadBatch(NamedTuple):
    """Everything that made the numbers. seed: of the random stream of the step's batch. terms: what came out.

    model: the state dict before the optimizer's step. config: resolved YAML. classes: names, in the labels' order.
    shares: factors of the loss terms (`shares.py`).
    """

    step: int
    seed: int
    terms: dict[str, float]
    batch: Batch
    model: dict[str, Tensor]
    config: str
    classes: list[str]
    shares: dict[str, float] = {}  # noqa: RUF012 - never changed


class Replay(NamedTuple):
    """terms: the losses, and "gradient_norm" when they are finite. module: name and kind of the first module whose
    output is not finite, or "" when none is. parameters: names of weights that are not finite. gradients: names of
    parameters whose gradient is not finite.
    """

    terms: dict[str, float]
    module: str
    parameters: list[str]
    gradients: list[str]

    @property
    def finite(self) -> bool:
        """Whether everything is, this time."""
        return all(map(math.isfinite, self.terms.values()))


def save_bad_batch(path: Path, bad: BadBatch) -> None:
    """Tensors and plain values, loadable with `weights_only=True`."""
    fields = {name: _plain(value) for name, value in bad.batch._asdict().items() if name != "truths"}
    with replacing(path) as part:
        torch.save({"format": _FORMAT, "kind": "nonfinite_batch", **bad._asdict(), "batch": fields}, part)


def load_bad_batch(path: Path) -> BadBatch:
    """Raises CheckpointError for a file that is missing, damaged or something else."""
    if not path.is_file():
        raise CheckpointError(missing_path("saved batch", path))
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
        if raw["kind"] != "nonfinite_batch" or raw["format"] != _FORMAT:
            raise ValueError("another kind of file")
        fields = raw["batch"]
        boxes = fields["boxes"]
        fields["boxes"] = None if boxes is None else tuple(Boxes(*one) for one in boxes)
        fields["names"] = tuple(fields["names"])
        return BadBatch(**{name: raw[name] for name in BadBatch._fields})._replace(batch=Batch(**fields))
    except Exception as error:  # torch raises many kinds for a damaged file; all mean the same to a user
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        message = f"is damaged, or not a batch that a training saved ({reason})"
        raise CheckpointError(Problem(path, message, f"give the {NONFINITE_FILE} of a run folder")) from error


def replay(fabric: Any, module: nn.Module, model: VisionModel, bad: BadBatch) -> Replay:
    """The forward and backward pass of a saved batch, in training mode, with its weights and random stream.

    module: what gives `model`'s loss under `fabric`'s precision. `model` gets the saved weights.
    """
    model.load_state_dict(bad.model)
    model.train()
    parameters = [name for name, value in model.named_parameters() if not bool(torch.isfinite(value).all())]
    found: list[str] = []
    torch.manual_seed(bad.seed)
    with _watched(model, found):
        losses = shared(module(fabric.to_device(bad.batch)), bad.shares)
    terms = {name: float(loss.detach()) for name, loss in losses.items()}
    gradients: list[str] = []
    if all(map(math.isfinite, terms.values())):
        model.zero_grad(set_to_none=True)
        summed(losses).backward()
        present = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
        terms["gradient_norm"] = float(torch.nn.utils.get_total_norm([gradient for _, gradient in present]))
        gradients = [name for name, gradient in present if not bool(torch.isfinite(gradient).all())]
    return Replay(terms, found[0] if found else "", parameters, gradients)


@contextmanager
def _watched(model: nn.Module, found: list[str]) -> Iterator[None]:
    """Notes every module whose output is not finite, in the order they end, so that the innermost comes first."""

    def watch(name: str) -> Any:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if not _is_finite(output):
                found.append(f"{name} ({type(module).__name__})")

        return look

    handles = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_finite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_finite, value))
    return _is_finite(value.maps) if hasattr(value, "maps") else True


def _plain(value: Any) -> Any:
    """Tensors on the CPU in lists and tuples: what a file may hold."""
    if isinstance(value, Tensor):
        return value.detach().cpu().contiguous()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
