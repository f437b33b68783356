"""Upsampling by a fixed bilinear kernel, as a layer of a net."""

from __future__ import annotations

import torch
from torch import nn

from toolkit.bounds import PositiveInt
from toolkit.errors import PartsError, Problem


def bilinear_upsampling(channels: PositiveInt, factor: PositiveInt) -> nn.ConvTranspose2d:
    """(N, channels, h, w) -> (N, channels, h * factor, w * factor); each channel by itself, nothing is trained.

    Caffe's "bilinear" filler in a deconvolution of kernel 2 * factor, stride factor, padding factor / 2 (dilation,
    `ctx_upsample` of the Cityscapes net: 16, 8, 4; 256 numbers a channel). Inside it is
    `interpolate(align_corners=False)`; what lies beyond the map counts as 0, so values fade within half a cell of the
    edge, at factor 8 down to 0.316 of themselves in the corners. Raises PartsError for an odd factor, whose padding
    would not be whole.
    """
    if factor % 2:
        raise PartsError(Problem("upsample", f"deconvolution needs an even factor, found {factor}"))
    layer = nn.ConvTranspose2d(
        channels, channels, 2 * factor, factor, padding=factor // 2, groups=channels, bias=False
    ).requires_grad_(False)
    line = 1 - (torch.arange(2 * factor, device=layer.weight.device) - factor + 0.5).abs() / factor
    with torch.no_grad():
        layer.weight.copy_((line[:, None] * line).expand_as(layer.weight))
    return layer
