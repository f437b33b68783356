"""An exponential moving average of the weights: what is evaluated and saved when `train.ema_decay` is set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """average = decay * average + (1 - decay) * weights, after every step, beginning with the starting weights.

    Polyak and Juditsky 1992, in the form of `torch.optim.swa_utils.get_ema_multi_avg_fn`. The decay is constant, so
    about the last 1 / (1 - decay) steps count; a run should be several times as long. Running means and variances of
    batch normalisation are averaged by the same rule (they belong to the averaged weights of about the same steps);
    integers, such as its count of batches, are those of the model.

    Args:
        model: the model on its device, with its weights in.
        decay: None averages nothing, and every method then does nothing.
        saved: `state()` of an earlier run to continue from.
    """

    def __init__(self, model: nn.Module, decay: float | None, saved: Mapping[str, Tensor] | None = None) -> None:
        self.model, self.decay = model, decay
        self._live: list[Tensor] = []
        self._averages: list[Tensor] = []
        if decay is not None:
            self._live = _own(tensor for tensor in model.state_dict().values() if tensor.is_floating_point())
            self._averages = [tensor.clone() for tensor in self._live]
            self._load(saved or {})

    @torch.no_grad()
    def update(self) -> None:
        """Takes a step's weights in."""
        if self.decay is not None:
            torch._foreach_lerp_(self._averages, self._live, 1 - self.decay)

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Within, the model has the averaged weights; what is changed there (batch statistics) changes the average."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def state(self) -> dict[str, Tensor]:
        """The model's state dict with the averages in it; {} without a decay. The tensors are not copies."""
        if self.decay is None:
            return {}
        places = {_place(live): average for live, average in zip(self._live, self._averages, strict=True)}
        return {name: places.get(_place(tensor), tensor) for name, tensor in self.model.state_dict().items()}

    @torch.no_grad()
    def _load(self, saved: Mapping[str, Tensor]) -> None:
        for name, tensor in self.state().items():
            if name in saved and tensor.is_floating_point():
                tensor.copy_(saved[name])

    @torch.no_grad()
    def _exchange(self) -> None:
        for live, average in zip(self._live, self._averages, strict=True):
            kept = live.clone()
            live.copy_(average)
            average.copy_(kept)


def _place(tensor: Tensor) -> Any:
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


def _own(tensors: Iterator[Tensor]) -> list[Tensor]:
    """Each tensor once, however many names it has; empty ones left out."""
    return list({_place(tensor): tensor.detach() for tensor in tensors if tensor.numel()}.values())
