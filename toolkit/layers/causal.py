"""Causal convolutions: an output depends on what came before it, in time or in reading order, and on nothing later.

Building blocks for nets that generate; no part of the toolkit uses them yet.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.layers.conv import same_padding


class CausalConv1d(nn.Conv1d):
    """(N, in_channels, T) -> (N, out_channels, T): output t sees inputs t, t - d, t - 2d ... with d the dilation.

    The input is padded at the front only, by dilation * (kernel_size - 1) zeros (WaveNet: van den Oord et al. 2016,
    arXiv 1609.03499, section 2.1). With n layers of kernel 2 and dilations 1, 2, 4 ... the output sees 2^n steps.
    """

    def __init__(
        self,
        in_channels: PositiveInt,
        out_channels: PositiveInt,
        kernel_size: PositiveInt = 2,
        dilation: PositiveInt = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, dilation=dilation, bias=bias)
        self.lead = dilation * (kernel_size - 1)

    def forward(self, x: Tensor) -> Tensor:
        """As long as the input."""
        return super().forward(F.pad(x, (self.lead, 0)))


class CausalConv2d(nn.Conv2d):
    """(N, in_channels, H, W) -> (N, out_channels, H, W): a pixel sees those above it, and to the left in its own row.

    A square kernel whose taps at and after the centre are masked to zero (PixelCNN: van den Oord et al. 2016, arXiv
    1601.06759, section 3.4, figure 2). kind: `A` masks the centre too, for the first layer, which must not see the
    pixel it predicts; `B` keeps it, for the others. Masked taps have weights that stay as they were drawn.
    Raises ValueError for an even kernel.
    """

    mask: Tensor

    def __init__(
        self,
        in_channels: PositiveInt,
        out_channels: PositiveInt,
        kernel_size: PositiveInt = 3,
        kind: Literal["A", "B"] = "B",
        dilation: PositiveInt = 1,
        bias: bool = True,
    ) -> None:
        padding = same_padding(kernel_size, dilation)
        super().__init__(in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, bias=bias)
        taps = torch.arange(kernel_size**2)
        centre = kernel_size**2 // 2
        seen = taps < centre if kind == "A" else taps <= centre
        self.register_buffer("mask", seen.reshape(1, 1, kernel_size, kernel_size).to(self.weight.dtype), False)

    def forward(self, x: Tensor) -> Tensor:
        """As large as the input."""
        return self._conv_forward(x, self.weight * self.mask, self.bias)
