"""timm's "SAME" padding, as TensorFlow pads, for programs of any size."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from toolkit.ops.padding import ceil_div

_USERS = ("timm.layers.conv2d_same", "timm.layers.pool2d_same", "timm.layers.std_conv")
"""Modules of timm that pad so."""


@contextmanager
def whole_numbers() -> Iterator[None]:
    """While a net is traced, timm's "SAME" padding is computed in whole numbers.

    timm rounds a quotient up, and PyTorch's algebra of sizes does not get through the fractions of a net that halves its
    maps five times. Here the map's padded size is a multiple of whole numbers, in which the paddings are no longer seen.
    """
    users = [sys.modules[name] for name in _USERS if name in sys.modules]
    before = [user.__dict__["pad_same"] for user in users]
    try:
        for user in users:
            user.__dict__["pad_same"] = pad_same
        yield
    finally:
        for user, own in zip(users, before, strict=True):
            user.__dict__["pad_same"] = own


def pad_same(
    x: Tensor, kernel_size: Sequence[int], stride: Sequence[int], dilation: Sequence[int] = (1, 1), value: float = 0
) -> Tensor:
    """`timm.layers.pad_same`: (N, C, H, W) with so much around it that H / stride cells come out, rounded up.

    Args:
        x: the map that a convolution or pooling reads.
        kernel_size: its (height, width) in cells.
        stride: cells from one place to the next, by axis.
        dilation: cells from one tap of the kernel to the next, by axis.
        value: what the padding is filled with.
    """
    (top, bottom), (left, right) = (
        _sides(n, dilated * (kernel - 1) + 1, step)
        for n, kernel, step, dilated in zip(x.shape[-2:], kernel_size, stride, dilation, strict=True)
    )
    return F.pad(x, (left, right, top, bottom), value=value)


def _sides(n: int, reach: int, stride: int) -> tuple[Any, Any]:
    """Cells before and behind a line of n, of which the larger half is behind."""
    both: Any = ceil_div(n, stride) * stride - n + reach - stride
    if reach < stride:  # it may be below 0
        both = torch.sym_max(both, 0)
    return both // 2, both - both // 2
