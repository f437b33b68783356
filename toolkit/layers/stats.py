"""Pixel statistics and first kernels for another number of channels."""

from __future__ import annotations

from torch import Tensor

from toolkit.contracts import PixelStats


def stats_for_channels(stats: PixelStats, channels: int) -> PixelStats:
    """The same statistics when the count is the same, else their average for each channel.

    >>> stats_for_channels(PixelStats((0.25, 0.35), (0.5, 0.5)), 1).mean
    (0.3,)
    """
    if channels == len(stats.mean):
        return PixelStats(tuple(stats.mean), tuple(stats.std), stats.bgr)
    mean, std = sum(stats.mean) / len(stats.mean), sum(stats.std) / len(stats.std)
    return PixelStats((mean,) * channels, (std,) * channels)


def adapted_kernel(kernel: Tensor, channels: int) -> Tensor:
    """The first kernel of published weights, (O, 3, h, w) for red, green and blue, for another number of channels.

    For one it is summed: the answer to a gray picture is that to three equal channels. For others the three are repeated
    in turn, times 3 / channels (the rule of timm's `adapt_input_conv`): equal bands are answered as three of them where
    their number is a multiple of three, and nearly so otherwise.

    >>> import torch
    >>> [adapted_kernel(torch.ones(1, 3, 1, 1), number).sum().item() for number in (1, 2, 3, 6)]
    [3.0, 3.0, 3.0, 3.0]
    """
    if kernel.ndim != 4 or kernel.shape[1] != 3 or channels == 3:
        return kernel
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    return kernel.repeat(1, -(-channels // 3), 1, 1)[:, :channels] * (3 / channels)
