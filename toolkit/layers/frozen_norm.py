"""Frozen batch normalisation done by the convolution before it: one pass over the map instead of three.

What a frozen norm does is a factor and a shift a channel, which are as well a factor of the convolution's kernels and
its bias: the same to rounding, forwards and backwards, and nothing of it is kept for backward.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


class NormedConv2d(nn.Conv2d):
    """A convolution without bias that does the work of the frozen norm behind it, too."""

    def forward(self, input: Tensor) -> Tensor:
        """What convolution and norm give together."""
        norm = self.__dict__["norm"]
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        kernels = self.weight * scale[:, None, None, None]
        return self._conv_forward(input, kernels, norm.bias - norm.running_mean * scale)


def fold_frozen_norms(pairs: Iterable[tuple[nn.Conv2d, nn.Module]]) -> None:
    """Lets each convolution do the work of its frozen norm, in place; names, numbers and modules stay as they are."""
    for convolution, norm in pairs:
        convolution.__class__ = NormedConv2d
        convolution.__dict__["norm"] = norm  # not as a module of the convolution, whose state it is not
        norm.__dict__["forward"] = _as_it_is


def _as_it_is(x: Tensor) -> Tensor:
    return x
