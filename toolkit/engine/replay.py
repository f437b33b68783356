"""The step of a batch whose loss or gradient was not finite, once more, to see where it begins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from toolkit.engine.finite import BadBatch
from toolkit.engine.settings import TrainSettings
from toolkit.engine.step import TrainingStep


class Replay(NamedTuple):
    """What a saved step did when it was done again.

    Args:
        terms: the losses, and "gradient_norm" when they are finite.
        module: name and kind of the first module whose output is not finite, or "" when none is.
        parameters: names of weights that are not finite.
        gradients: names of parameters whose gradient is not finite.
    """

    terms: dict[str, float]
    module: str
    parameters: list[str]
    gradients: list[str]

    @property
    def finite(self) -> bool:
        """Whether everything is, this time."""
        return all(map(math.isfinite, self.terms.values()))


def replay(fabric: Any, module: Any, bad: BadBatch, settings: TrainSettings) -> Replay:
    """The forward and backward pass of a saved batch, in training mode, with its weights and random stream.

    Args:
        fabric: a launched Fabric, in whose precision the pass is made; float16's loss is not scaled.
        module: what gives the model's loss, as `fabric.setup` wraps it; the model gets the saved weights.
        bad: the batch, the weights and the seed, as `load_bad_batch` gives them.
        settings: settings of the training that met it.
    """
    model = module.model
    model.load_state_dict(bad.model)
    model.train()
    if getattr(fabric.strategy.precision, "scaler", None) is not None:
        fabric.strategy.precision.scaler = torch.amp.GradScaler(fabric.device.type, init_scale=1.0)
    step = TrainingStep(fabric, module, None, settings)
    parameters = [name for name, value in model.named_parameters() if not bool(torch.isfinite(value).all())]
    found: list[str] = []
    with _watched(model, found):
        losses = step.losses(bad.batch, bad.seed, bad.shares)
    terms = {name: float(loss.detach()) for name, loss in losses.items()}
    gradients: list[str] = []
    if all(map(math.isfinite, terms.values())):
        model.zero_grad(set_to_none=True)
        step.backward(losses)
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
