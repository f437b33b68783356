"""PyTorch's own ways to a faster forward pass: batch normalisation folded into convolutions, channels last, compiled."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from toolkit.contracts import FeaturePyramid, Neck
from toolkit.errors import UserError, first_line

M = TypeVar("M", bound=nn.Module)


def folded(module: M) -> M:
    """A copy, in eval mode and channels last, in which a normalisation right behind a convolution is part of it.

    Right behind: the next child of a `nn.Sequential`, or `norm`, `bn`, `bn1` beside `conv`, `conv1` of one block.
    """
    made = copy.deepcopy(module).eval()
    for block in list(made.modules()):
        names = list(dict(block.named_children()))
        for first, second in pairwise(names):
            conv, norm = getattr(block, first), getattr(block, second)
            if _foldable(conv, norm):
                setattr(block, first, fuse_conv_bn_eval(conv, norm))
                setattr(block, second, nn.Identity())
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _foldable(conv: Any, norm: Any) -> bool:
    return (
        type(conv) is nn.Conv2d
        and isinstance(norm, nn.BatchNorm2d)
        and norm.running_mean is not None
        and norm.num_features == conv.out_channels
    )


class Bf16Decoder(nn.Module):
    """A neck that unpools by indices, in bfloat16; float32 goes in and comes out.

    Where maxima stand is decided before it, in float32, so that rounding moves no value to another pixel.

    Args:
        neck: the neck, of which a copy is kept.
    """

    def __init__(self, neck: Neck) -> None:
        super().__init__()
        self.neck = copy.deepcopy(neck).bfloat16()
        self.spec = neck.spec

    def forward(self, pyramid: FeaturePyramid) -> FeaturePyramid:
        """See `Neck`; only the last map is read."""
        found: FeaturePyramid = self.neck(replace(pyramid, maps=(*pyramid.maps[:-1], pyramid.maps[-1].bfloat16())))
        return replace(found, maps=tuple(one.float() for one in found.maps))


def compiled(module: nn.Module) -> Any:
    """The module by PyTorch's compiler. Raises UserError where that needs what is not here."""
    try:
        return torch.compile(module, dynamic=True)
    except RuntimeError as error:
        raise UserError(f"engine compile: {first_line(error)}") from error
