"""What a model asks of tiles, found out by looking: a probe whose surroundings are not a number shows how far it sees."""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

from toolkit.inference.tiling.plan import TileGeometry
from toolkit.models.modes import evaluating
from toolkit.models.vision_model import VisionModel

_LOG = logging.getLogger(__name__)
_FIRST_PROBE, _LARGEST_PROBE = 512, 4096
_COMPROMISE = 128
"""Pixels of halo for a net that sees everything."""


def unprobed_geometry(model: VisionModel, stride: int) -> TileGeometry:
    """Everything about the model's tiles that its specs say: all but the halo."""
    sizes = model.spec.sizes
    align = math.lcm(*model.backbone.spec.strides, *model.spec.strides, sizes.multiple, stride)
    return TileGeometry(align, sizes.remainder % align, sizes.minimum, stride, model.border, halo=0)


@torch.inference_mode()
def measure_geometry(model: VisionModel, stride: int) -> TileGeometry:
    """The geometry with its halo, measured. stride: of the logits.

    The model sees a window of noise whose surroundings are NaN; every result that could depend on them
    is NaN too, whatever the weights: a convolution, a maximum, a mean pass it on. The window is enlarged until some
    results are not. Then the window alone, as a tile, must give the same there. Looks along rows and columns.
    """
    start = unprobed_geometry(model, stride)
    halo = 0
    for axis in (-1, -2):
        with evaluating(model):
            found = _halo(model, start, axis)
        if found is None:
            _LOG.warning(
                "this model sees farther than %d pixels or depends on where a tile lies: its tiles only come close to "
                "the whole picture",
                _LARGEST_PROBE // 2,
            )
            compromise = -(-_COMPROMISE // start.align) * start.align // stride
            return start._replace(halo=compromise, exact=False)
        halo = max(halo, found)
    if model.backbone.spec.pool_indices:
        # Unpooling puts a NaN at one place of a window although another value may stand anywhere in it.
        halo += start.align // stride
    return start._replace(halo=halo)


def _halo(model: VisionModel, geometry: TileGeometry, axis: int) -> int | None:
    """Cells at either end of a window along an axis that know of what is beyond, or None when all do, or it moves."""
    side = geometry.legal(_FIRST_PROBE)
    while side <= geometry.legal(_LARGEST_PROBE):
        # A prime multiple: what repeats less often than every `align` pixels does not look the same from there.
        frame = _prime(side // geometry.align + 1) * geometry.align
        images = _noise(model, frame + side + frame, geometry.legal(1), axis)
        window = images.narrow(axis, frame, side).clone()
        images.narrow(axis, 0, frame).fill_(math.nan)
        images.narrow(axis, frame + side, frame).fill_(math.nan)
        logits = _logits(model, images)
        clean = ~logits.isnan().any(1)[0].any(0 if axis == -1 else 1)
        first = frame // geometry.stride
        last = first + (side - 2 * geometry.border) // geometry.stride
        middle = (first + last) // 2
        if bool(clean[middle]):
            bad = (~clean).nonzero()[:, 0].tolist()
            before = max([0, *(cell + 1 - first for cell in bad if cell < middle)])
            after = max([0, *(last - cell for cell in bad if cell > middle)])
            halo = max(before, after)
            same = _close(
                logits.narrow(axis, first + halo, last - first - 2 * halo), _logits(model, window), halo, axis
            )
            return halo if same else None
        side = geometry.legal(2 * side)
    return None


def _prime(at_least: int) -> int:
    """The smallest prime number that is not smaller, and at least 2."""
    number = max(at_least, 2)
    while any(number % divisor == 0 for divisor in range(2, math.isqrt(number) + 1)):
        number += 1
    return number


def _noise(model: VisionModel, along: int, across: int, axis: int) -> Tensor:
    """One float image (1, C, H, W) of noise in 0..1, the same every time."""
    size = (across, along) if axis == -1 else (along, across)
    noise = torch.rand((1, model.in_channels, *size), generator=torch.Generator().manual_seed(0))
    return noise.to(model.pixel_scale.device)


def _logits(model: VisionModel, images: Tensor) -> Tensor:
    """What the layers themselves make of floats, also where an exported file answers for pictures, which takes bytes."""
    logits: Tensor = model.head(VisionModel.pyramid(model, images))
    return logits.float()


def _close(expected: Tensor, alone: Tensor, halo: int, axis: int) -> bool:
    """Whether a tile's own result, without its halo, is what the whole has there, but for rounding."""
    found = alone.narrow(axis, halo, expected.shape[axis])
    scale = float(expected.abs().max().clamp_min(1e-6))
    return bool(((expected - found).abs() <= 1e-3 * scale).all())


@torch.inference_mode()
def cells_of(model: VisionModel, size: tuple[int, int], geometry: TileGeometry) -> tuple[int, int]:
    """How many logits (h, w) an image of a legal (height, width) gives, from a small image of the same remainders.

    Args:
        model: the model that is asked.
        size: (height, width) of the image in pixels, a legal size.
        geometry: what the model asks of tiles.
    """
    small = [n - max(0, (n - geometry.legal(geometry.align)) // geometry.align * geometry.align) for n in size]
    images = torch.zeros((1, model.in_channels, *small), device=model.pixel_scale.device)
    with evaluating(model):
        shape = _logits(model, images).shape[2:]
    height, width = (c + (n - s) // geometry.stride for c, n, s in zip(shape, size, small, strict=True))
    return height, width
