"""Kinds of pooling besides PyTorch's maximum and average."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.layers.pool_kind import pool2d

PoolingKind = Literal["max", "average", "l2", "stochastic"]


def pooling_layer(
    kind: PoolingKind, kernel_size: PositiveInt = 2, stride: PositiveInt = 2, ceil_mode: bool = False
) -> nn.Module:
    """A pooling layer (N, C, H, W) -> (N, C, H', W') without padding; see the classes below and `torch.nn`.

    Args:
        kind: what is taken of each window: maximum, mean, Euclidean norm, or a pixel drawn at random.
        kernel_size: side of a square window, in cells.
        stride: cells from one window to the next.
        ceil_mode: whether an incomplete window at the lower or right edge counts, or is dropped.
    """
    if kind == "l2":
        return L2Pool2d(kernel_size, stride, ceil_mode)
    if kind == "stochastic":
        return StochasticPool2d(kernel_size, stride, ceil_mode)
    return pool2d(kind, kernel_size, stride, ceil_mode=ceil_mode)


class L2Pool2d(nn.Module):
    """The Euclidean norm of each window: sqrt(sum of squares). Lp pooling with p = 2.

    Sermanet, Chintala, LeCun, "Convolutional neural networks applied to house numbers digit classification", 2012
    (arXiv 1204.3968), section 2.2, with uniform weights. Unlike `torch.nn.LPPool2d`, an all-zero window has the
    gradient 0 instead of NaN, and an incomplete window counts only what it has.

    Args:
        kernel_size: side of a square window, in cells.
        stride: cells from one window to the next.
        ceil_mode: whether an incomplete window at the lower or right edge counts, or is dropped.
    """

    def __init__(self, kernel_size: PositiveInt = 2, stride: PositiveInt = 2, ceil_mode: bool = False) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.ceil_mode = kernel_size, stride, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> norms (N, C, H', W'), never negative."""
        # Divisor 1: sums. The root of 0 has no derivative, so zeros are kept away from it.
        sums = F.avg_pool2d(x.square(), self.kernel_size, self.stride, ceil_mode=self.ceil_mode, divisor_override=1)
        alive = sums > 0
        return torch.where(alive, torch.where(alive, sums, 1.0).sqrt(), 0.0)


class StochasticPool2d(nn.Module):
    """One pixel of each window, drawn with probability proportional to its activation; when evaluating, their mean
    weighted by these probabilities.

    Zeiler and Fergus, "Stochastic pooling for regularization of deep convolutional neural networks", 2013 (arXiv
    1301.3557), equations 4 to 6. Activations must not be negative (put it behind a ReLU); negative ones count as 0.
    A window of zeros gives 0. When training, the gradient goes to the drawn pixel alone.

    Args:
        kernel_size: side of a square window, in cells.
        stride: cells from one window to the next.
        ceil_mode: whether an incomplete window at the lower or right edge counts, or is dropped.
    """

    def __init__(self, kernel_size: PositiveInt = 2, stride: PositiveInt = 2, ceil_mode: bool = False) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.ceil_mode = kernel_size, stride, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """Drawn pixels while training, weighted means otherwise; (N, C, H', W')."""
        windows = self._windows(x.clamp_min(0))
        sums = windows.sum(-1, keepdim=True)
        if not self.training:
            # sum of p_i a_i with p_i = a_i / sum of a
            return windows.square().sum(-1) / torch.where(sums > 0, sums, 1.0).squeeze(-1)
        thresholds = torch.rand_like(sums) * sums
        # The first pixel whose cumulated activation exceeds the threshold. Rounding may leave none: then the largest.
        beyond = windows.detach().cumsum(-1) > thresholds
        drawn = torch.where(beyond.any(-1), beyond.float().argmax(-1), windows.argmax(-1))
        return windows.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)

    def _windows(self, x: Tensor) -> Tensor:
        """(N, C, H', W', kernel_size^2), with zeros, which are never drawn, where a window is incomplete."""
        k, s = self.kernel_size, self.stride
        counts = []
        for n in x.shape[-2:]:
            count = (n - k + (s - 1 if self.ceil_mode else 0)) // s + 1
            counts.append(count - 1 if (count - 1) * s >= n else count)  # as PyTorch: a window starts inside the map
        pad = [max(0, (count - 1) * s + k - n) for count, n in zip(counts, x.shape[-2:], strict=True)]
        x = F.pad(x, (0, pad[1], 0, pad[0]))
        windows = x.unfold(2, k, s).unfold(3, k, s)[:, :, : counts[0], : counts[1]]
        return windows.flatten(-2)


class Maxout(nn.Module):
    """The maximum over groups of channels: (N, C, H, W) -> (N, C / pieces, H, W). Pooling across maps, not space.

    Goodfellow et al., "Maxout networks", 2013 (arXiv 1302.4389), section 3: it follows a linear convolution in place
    of an activation. Output j is the maximum of inputs j * pieces ... j * pieces + pieces - 1.
    Raises ValueError when `pieces` does not divide C.
    """

    def __init__(self, pieces: PositiveInt = 2) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C / pieces, H, W): the largest of each group of channels."""
        if x.shape[1] % self.pieces:
            raise ValueError(f"maxout of {self.pieces} pieces needs a multiple of that many channels, not {x.shape[1]}")
        return x.unflatten(1, (-1, self.pieces)).amax(2)
