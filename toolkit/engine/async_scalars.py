"""Numbers on their way from the device: asked for now, read later, without waiting for work that was launched since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
        self._values: list[float] | None = None
        if self._tensor.device.type == "cuda":
            self._tensor = torch.empty_like(self._tensor, device="cpu", pin_memory=True).copy_(
                self._tensor, non_blocking=True
            )
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def values(self) -> dict[str, float]:
        """The numbers by name, as Python floats; waits for the device the first time."""
        if self._values is None:
            if self._arrived is not None:
                self._arrived.synchronize()
            self._values = self._tensor.tolist()
        return dict(zip(self._names, self._values, strict=True))

    @staticmethod
    def fetch(scalars: Sequence[AsyncScalars]) -> None:
        """Waits for several, in the order in which they were made, once for all: their `values` wait no more."""
        if scalars[-1]._arrived is not None:
            for one in reversed(scalars):  # the last event waits; those before it on the same stream have passed then
                one.values()
            return
        numbers = iter(torch.cat([one._tensor for one in scalars]).tolist())
        for one in scalars:
            one._values = [next(numbers) for _ in one._names]
