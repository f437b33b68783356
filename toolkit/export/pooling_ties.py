"""Where an export unpools a value to another place of its window, because two values of the window are equal but for rounding.

Engines sum in orders of their own, so that the last bits of a map differ. Where the two largest of a window are that near, the
maximum stands elsewhere, and unpooling (SegNet) puts a value into a neighbouring pixel: logits there differ by far more than by
rounding. Such a difference is proved to be one, not assumed: the model runs again with the export's choices, and has to agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.contracts import FeaturePyramid, PoolIndices
from toolkit.export.blocks import of_pass
from toolkit.export.graph import BLOCK
from toolkit.layers.max_unpool import MaxUnpool
from toolkit.models.vision_model import VisionModel
from toolkit.ops.pooling import max_pool, max_unpool


@dataclass
class Chosen:
    """Windows whose value the export put elsewhere.

    Args:
        windows: how many of them there are.
        gap: largest distance of the two values of one, in standard deviations of their map; rounding's is about 1e-6.
    """

    windows: int = 0
    gap: float = 0.0


def unpooled(model: VisionModel) -> list[str]:
    """Names of the values inside a program that show where it unpooled to, deepest first; none for a net without indices.

    Of a model that predicts from samples each pass has its own.
    """
    layers = [name for name, layer in model.named_modules() if isinstance(layer, MaxUnpool)]
    return [
        f"{BLOCK}{of_pass(name, number, model.samples)}" for number in range(1, model.samples + 1) for name in layers
    ]


@contextmanager
def choices_of(model: VisionModel, inside: Mapping[str, np.ndarray]) -> Iterator[Chosen]:
    """While it is open the model unpools to where an export did, in each pass of a picture's.

    Args:
        model: a model with unpooling, in eval mode, which answers for one picture after the other.
        inside: maps (N, C, H, W) of the export by the names that `unpooled` gives, of those that it has.
    """
    found = Chosen()
    names = unpooled(model)
    layers = len(names) // model.samples
    passes = cycle([names[first : first + layers][::-1] for first in range(0, len(names), layers)])  # finest first

    def hook(_: Any, given: tuple[FeaturePyramid]) -> tuple[FeaturePyramid]:
        (pyramid,) = given
        placed = [torch.from_numpy(inside[name]) if name in inside else None for name in next(passes)]
        triples = zip(pyramid.maps, pyramid.pools, placed, strict=False)
        return (replace(pyramid, pools=tuple(_as_placed(*triple, found) for triple in triples)),)

    if model.neck is None:
        raise ValueError("the model does not unpool")
    handle = model.neck.register_forward_pre_hook(hook)
    try:
        yield found
    finally:
        handle.remove()


def _as_placed(values: Tensor, own: PoolIndices, placed: Tensor | None, found: Chosen) -> PoolIndices:
    """Indices that lead to where the export put values; the model's own where all of a window is 0, wherever it was put.

    Args:
        values: (N, C, H, W) map before pooling.
        own: where the model's maxima stood.
        placed: (N, C, H, W) what the export unpooled, if that is known.
        found: is told of the windows that differ.
    """
    if placed is None or placed.shape != values.shape:  # what differs all the same shows itself in the answers
        return own
    size, pooled = own.size, own.pooled
    ceil = pooled[0] * 2 > size[0] or pooled[1] * 2 > size[1]
    ones = max_unpool(torch.ones((*values.shape[:2], *pooled)), own)
    _, mine = max_pool(ones, ceil_mode=ceil)
    some, theirs = max_pool((placed != 0).float(), ceil_mode=ceil)
    codes = torch.where(some > 0, theirs.codes, mine.codes)
    other = codes != mine.codes
    if other.any():
        there = max_unpool(torch.ones_like(some), PoolIndices(codes, size, pooled)) > 0
        gaps, _ = max_pool(values, ceil_mode=ceil)
        gaps = gaps - max_pool(values.where(there, -torch.inf), ceil_mode=ceil)[0]
        found.windows += int(other.sum())
        found.gap = max(found.gap, float(gaps[other].max() / values.std().clamp_min(1e-12)))
    return PoolIndices(codes, size, pooled)
