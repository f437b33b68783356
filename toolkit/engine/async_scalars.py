"""Numbers on their way from the device: asked for now, read later, without waiting for work that was launched since."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class AsyncScalars:
    """Named scalars of the device. Making one starts the copy; `values` waits for that copy alone.

    So the processor may launch the backward pass before it asks whether the loss is finite, and the GPU never idles
    for the answer.
    """

    def __init__(self, scalars: Mapping[str, Tensor]) -> None:
        self._names = list(scalars)
        self._tensor = torch.stack([scalar.detach().float() for scalar in scalars.values()])
        self._arrived = None
        if self._tensor.device.type == "cuda":
            self._tensor = torch.empty_like(self._tensor, device="cpu", pin_memory=True).copy_(
                self._tensor, non_blocking=True
            )
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def values(self) -> dict[str, float]:
        """The numbers by name, as Python floats; waits for the device the first time."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return dict(zip(self._names, self._tensor.tolist(), strict=True))
