"""Convolution, normalisation, activation: the unit most nets repeat."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from toolkit.bounds import PositiveInt

Padding = Literal["same", "valid"]
Norm = Literal["batch", "group", "none"]
Activation = Literal["relu", "none"]


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """The layer a norm's name stands for.

    "group" normalises each image by itself, in groups of about 8 channels (Wu & He, "Group Normalization", 2018): it
    does not depend on the batch, so it suits batches of a few images, and images that differ much in light and colour.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(_groups(channels), channels) if norm == "group" else nn.Identity()


def _groups(channels: int) -> int:
    """The largest number of equal groups that have at least 8 channels; 1 when there is none.

    >>> [_groups(channels) for channels in (4, 8, 16, 24, 64)]
    [1, 1, 2, 3, 8]
    """
    return max(count for count in range(1, max(1, channels // 8) + 1) if channels % count == 0)


def same_padding(kernel_size: int, dilation: int = 1) -> int:
    """Zeros at each edge that keep the size of a map at stride 1; the output has ceil(n / stride) cells.

    Raises ValueError for an even kernel, which cannot be centred.

    >>> same_padding(3), same_padding(3, dilation=2)
    (1, 2)
    """
    if kernel_size % 2 == 0:
        raise ValueError(f"an even kernel ({kernel_size}) has no padding that is equal at both edges")
    return dilation * (kernel_size - 1) // 2


class ConvNormAct(nn.Module):
    """(N, in_channels, H, W) -> (N, out_channels, H', W'): 2-D convolution, then norm, then activation.

    Args:
        in_channels: channels of the map that enters.
        out_channels: channels of the map that leaves.
        kernel_size: side of the kernel in cells; odd where padding is "same".
        stride: cells of the input from one cell of the output to the next.
        dilation: cells from one tap of the kernel to the next, 1 or more.
        padding: "same" gives ceil(n / stride) cells; "valid" pads nothing and loses dilation * (kernel_size - 1) pixels.
        norm: batch or group normalisation (`norm_layer`), or none.
        activation: what follows the norm: a ReLU or nothing.
        bias: whether the convolution has a bias; None means exactly when nothing normalises it away.
    """

    def __init__(
        self,
        in_channels: PositiveInt,
        out_channels: PositiveInt,
        kernel_size: PositiveInt = 3,
        stride: PositiveInt = 1,
        dilation: PositiveInt = 1,
        padding: Padding = "same",
        norm: Norm = "batch",
        activation: Activation = "relu",
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=same_padding(kernel_size, dilation) if padding == "same" else 0,
            dilation=dilation,
            bias=norm == "none" if bias is None else bias,
        )
        self.norm = norm_layer(norm, out_channels)
        self.activation: nn.Module = nn.ReLU(inplace=True) if activation == "relu" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H', W'), activated."""
        return self.activation(self.norm(self.conv(x)))
