"""Pooling layers of a net, by kind, so that a backbone can offer the choice as one argument."""

from __future__ import annotations

from typing import Literal

from torch import nn

PoolKind = Literal["max", "average"]


def pool2d(kind: PoolKind, kernel_size: int, stride: int = 2, padding: int = 0, ceil_mode: bool = False) -> nn.Module:
    """A pooling layer (N, C, H, W) -> (N, C, H', W') of one kind, sized as `torch.nn.MaxPool2d` sizes it.

    The average leaves padding out of its count.

    Args:
        kind: what is taken of each window: its maximum or its mean.
        kernel_size: side of a square window, in cells.
        stride: cells from one window to the next.
        padding: cells added at each edge, which neither a maximum nor a mean counts.
        ceil_mode: whether an incomplete window at the lower or right edge counts, or is dropped.
    """
    if kind == "max":
        return nn.MaxPool2d(kernel_size, stride, padding, ceil_mode=ceil_mode)
    return nn.AvgPool2d(kernel_size, stride, padding, ceil_mode=ceil_mode, count_include_pad=False)
