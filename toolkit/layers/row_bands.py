"""Convolutions over a large map in bands of rows, so that what they read and make on the way is never there as a whole.

The results are those of the whole map: a band is read with as many rows around it as the convolutions look at. It is
asked for by whoever predicts (`in_row_bands`), and is done only where nothing but the rows around decides a result:
without gradients, and with the statistics that batch normalisation has stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

BAND_BYTES = 16 << 20
"""Bytes of a band of what the convolutions read. Small enough for a processor's cache to help, and for glibc to serve the next
band from the same memory: blocks from 32 MB on it takes from the system each time, page by page."""
_LEAST_ROWS = 8
_BLOCK = 16
"""Channels of a block with AVX-512; 8 with AVX2."""
_band_bytes: ContextVar[int | None] = ContextVar("band_bytes", default=None)
_LOCAL = (nn.Conv2d, nn.BatchNorm2d, nn.Identity, nn.ReLU)


def in_blocks(channels: int) -> int:
    """Channels of a map in the order that oneDNN computes in: in blocks, the last of which is filled up.

    >>> in_blocks(2), in_blocks(64)
    (16, 64)
    """
    return -(-channels // _BLOCK) * _BLOCK


@contextmanager
def in_row_bands(size: int = BAND_BYTES) -> Iterator[None]:
    """Inside, parts that can do so work in bands whose input takes at most so many bytes, or 8 rows."""
    token = _band_bytes.set(size)
    try:
        yield
    finally:
        _band_bytes.reset(token)


def rows_around(layers: nn.Module) -> tuple[int, int] | None:
    """Rows that layers look at beyond what they answer for, and rows by which their map is shorter; None: not by rows.

    The first are rows of zeros that convolutions add at either edge, which a band has to replace by its neighbours'.
    None for layers whose result depends on more than the rows around (normalisation by groups), or that are not known.

    >>> rows_around(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.Conv2d(1, 1, 3)))
    (1, 2)
    """
    padded = lost = 0
    for layer in layers.modules():
        if next(layer.children(), None) is not None:
            continue
        if not isinstance(layer, _LOCAL) or (isinstance(layer, nn.BatchNorm2d) and layer.training):
            return None
        if isinstance(layer, nn.Conv2d):
            if layer.stride[0] != 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
                return None
            padded += layer.padding[0]
            lost += layer.dilation[0] * (layer.kernel_size[0] - 1) - 2 * layer.padding[0]
    return padded, lost


def band_of_rows(layers: nn.Module, height: int, row_bytes: int) -> int | None:
    """Rows of a band in which layers may work here; None: all at once.

    Args:
        layers: the module that is to run on the map.
        height: rows of the map that they read.
        row_bytes: bytes of one of them, all images together, in the blocks of channels that convolutions copy it into.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return None
    size = _band_bytes.get()
    if size is None:
        return None
    rows = max(_LEAST_ROWS, size // max(1, row_bytes))
    return rows if rows < height and rows_around(layers) is not None else None


def in_bands(layers: nn.Module, rows: Callable[[int, int], Tensor], height: int, step: int) -> Tensor:
    """(N, C', height - lost, W') of layers over a map (N, C, height, W), `step` rows of the result at a time.

    Args:
        layers: convolutions of stride 1, their norms and activations, one after the other.
        rows: gives the rows first .. last - 1 of the map, (N, C, last - first, W), for `rows(first, last)`.
        height: rows of the map that they read.
        step: rows of the result of one band, as `band_of_rows` says.
    """
    around = rows_around(layers)
    if around is None:
        raise ValueError("these layers look at more than the rows around")
    padded, lost = around
    whole: Tensor | None = None
    for top in range(0, height - lost, step):
        bottom = min(top + step, height - lost)
        first = max(0, top - padded)
        band = layers(rows(first, min(height, bottom + lost + padded)))[..., top - first : bottom - first, :]
        if whole is None:
            whole = band.new_empty((*band.shape[:2], height - lost, band.shape[3]))
        whole[..., top:bottom, :] = band
    if whole is None:
        raise ValueError(f"a map of {height} rows is too small for layers that take {lost}")
    return whole
