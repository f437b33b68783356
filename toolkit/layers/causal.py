"""Causal convolutions: an output depends on what came before it, in time or in reading order, and on nothing later."""

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
    A map (N, in_channels, H, T) is H sequences a sample, one a row, which do not see each other.

    Args:
        in_channels: channels of the sequence that enters.
        out_channels: channels of the sequence that leaves.
        kernel_size: number of steps that are weighted, the present one included.
        dilation: steps from one weighted step to the next, 1 or more.
        bias: whether a learnt constant is added to every channel.
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
        """(N, in_channels[, H], T) -> (N, out_channels[, H], T), as long as the input."""
        x = F.pad(x, (self.lead, 0))
        if x.ndim == 3:
            return super().forward(x)
        return F.conv2d(x, self.weight.unsqueeze(2), self.bias, dilation=(1, *self.dilation))


class CausalConv2d(nn.Conv2d):
    """(N, in_channels, H, W) -> (N, out_channels, H, W): a pixel sees those above it, and to the left in its own row.

    A square kernel whose taps at and after the centre are masked to zero (PixelCNN: van den Oord et al. 2016, arXiv
    1601.06759, section 3.4, figure 2). Masked taps have weights that stay as they were drawn.

    Args:
        in_channels: channels of the map that enters.
        out_channels: channels of the map that leaves.
        kernel_size: side of the kernel in pixels, odd.
        kind: "A" masks the centre too, for the first layer, which must not see the pixel it predicts; "B" keeps it, for
            the others.
        dilation: pixels from one tap of the kernel to the next, 1 or more.
        bias: whether a learnt constant is added to every channel.

    Raises:
        ValueError: an even kernel.
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
        """(N, in_channels, H, W) -> (N, out_channels, H, W), as large as the input."""
        return self._conv_forward(x, self.weight * self.mask, self.bias)
