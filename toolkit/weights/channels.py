"""The first kernel of published weights, for images of another number of channels."""

from __future__ import annotations

from torch import Tensor


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


def for_other_channels(mine: Tensor, given: Tensor) -> tuple[Tensor, str] | None:
    """A first kernel (O, C, h, w) for another number of channels than it was given for, and how it was made.

    Of three channels as `adapted_kernel` says; of one for three a third each, so that three equal channels are answered
    as the one. None for kernels that differ in more than the number of channels, or that neither rule is for.

    Args:
        mine: the net's kernel, of which only the shape counts.
        given: the kernel of the file.
    """
    alike = mine.ndim == given.ndim == 4 and mine.shape[0] == given.shape[0] and mine.shape[2:] == given.shape[2:]
    if not alike or mine.shape[1] == given.shape[1]:
        return None
    if given.shape[1] == 3:
        made = "summed to 1" if mine.shape[1] == 1 else f"repeated in turn for {mine.shape[1]}"
        return adapted_kernel(given, mine.shape[1]), f"3 channels in the file, {made}"
    if (given.shape[1], mine.shape[1]) == (1, 3):
        return given.expand(-1, 3, -1, -1) / 3, "1 channel in the file, a third of it for each of 3"
    return None
