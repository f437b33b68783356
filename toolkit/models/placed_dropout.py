"""Dropout whose noise is a function of place: of the sample, the layer and the cell, and not of the image's size.

A tile then draws what the whole picture draws at its place, so that samples of a picture in tiles are those of the picture,
without seams; and every image of a batch draws the same, so that an answer does not depend on the batch it is in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Pair = tuple[int, int]
Strides = dict[Pair, Pair]
"""Pixels from one cell to the next, down and along, of each (layer, call) that drops; 0 for a map that does not grow."""
_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
PLACED = (nn.Dropout, *_CHANNELS)
"""Layers whose noise can be placed."""


class PlacedDropout:
    """Draws for the dropout layers of a model; see `placed_dropout`.

    Args:
        layers: the dropout layers; each draws by its place among them.
        seed: a number that changes all draws.
    """

    def __init__(self, layers: Sequence[nn.Module], seed: int) -> None:
        self._numbers = {layer: number for number, layer in enumerate(layers)}
        self._seed = seed
        self._sample, self._start = 0, (0, 0)
        self._calls: Counter[int] = Counter()
        self._shapes: dict[Pair, Pair] = {}
        self.strides: Strides = {}

    def begin(self, sample: int, start: Pair = (0, 0)) -> None:
        """Before a pass. sample: its number. start: (row, column) of the pixel at which its images begin in the picture."""
        self._sample, self._start = sample, start
        self._calls.clear()

    def measure(self, run: Callable[[Pair], Any], sizes: tuple[Pair, Pair]) -> None:
        """Finds out how many pixels lie between cells that a layer drops, from passes of images of two sizes.

        Args:
            run: does the pass of an image of a (height, width).
            sizes: a smaller and a larger size, by multiples of the net's total stride.
        """
        shapes = []
        for size in sizes:
            self._shapes = {}
            self.begin(0)
            run(size)
            shapes.append(self._shapes)
        small, large = sizes
        for key, before in shapes[0].items():
            after = shapes[1].get(key, before)
            self.strides[key] = (
                _stride(large[0] - small[0], after[0] - before[0]),
                _stride(large[1] - small[1], after[1] - before[1]),
            )

    def of(self, layer: nn.Module, x: Tensor) -> Tensor:
        """What the layer gives for x, (N, C, h, w) or any other shape."""
        number = self._numbers[layer]
        key = (number, self._calls[number])
        self._calls[number] += 1
        rate = float(layer.p)  # type: ignore[arg-type]
        if rate >= 1:
            return torch.zeros_like(x)
        seed = _mixed_number(self._seed, self._sample, *key)
        if x.ndim == 4:
            self._shapes[key] = (x.shape[2], x.shape[3])
            down, along = self.strides.get(key, (1, 1))
            start = (self._start[0] // down if down else 0, self._start[1] // along if along else 0)
            cells = (1, 1) if isinstance(layer, _CHANNELS) else (x.shape[2], x.shape[3])
            drop = dropped(rate, seed, x.shape[1], cells, (0, 0) if cells == (1, 1) else start, x.device)
        else:  # no map: by its number in the image
            drop = dropped(rate, seed, 1, (1, x[0].numel()), (0, 0), x.device).reshape(x.shape[1:])
        return x.masked_fill(drop, 0).div_(1 - rate)


@contextmanager
def placed_dropout(layers: Sequence[nn.Module], seed: int) -> Iterator[PlacedDropout]:
    """Inside, dropout layers draw by place, whatever their mode: an active layer that is in evaluation mode drops, too.

    Args:
        layers: of the kinds in `PLACED`, with p above 0.
        seed: a number that changes all draws.
    """
    noise = PlacedDropout(layers, seed)
    modes = [layer.training for layer in layers]
    hooks = [layer.register_forward_hook(lambda layer, _, output: noise.of(layer, output)) for layer in layers]
    try:
        for layer in layers:
            layer.eval()  # passes its input on, to the hook
        yield noise
    finally:
        for hook in hooks:
            hook.remove()
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode


def dropped(
    rate: float, seed: int, channels: int, cells: Pair, start: Pair, device: torch.device | None = None
) -> Tensor:
    """(channels, h, w) bool: which numbers of a map are dropped. Each place is an independent draw, by its hash.

    Args:
        rate: probability of a draw, 0..1.
        seed: of the layer, the sample, the call.
        channels: number of channels of the map.
        cells: (h, w) of the part that is asked for.
        start: (row, column) of the first cell in the whole map.
        device: where the answer is made.

    >>> whole = dropped(0.5, 7, 2, (6, 8), (0, 0))
    >>> bool((dropped(0.5, 7, 2, (2, 3), (4, 5)) == whole[:, 4:6, 5:8]).all())
    True
    """
    channel = _mixed(torch.arange(channels, dtype=torch.int32, device=device) ^ seed)
    row = torch.arange(start[0], start[0] + cells[0], dtype=torch.int32, device=device)
    column = torch.arange(start[1], start[1] + cells[1], dtype=torch.int32, device=device)
    lines = _mixed(channel[:, None] ^ _mixed(row + 0x3C6EF372))  # (channels, h)
    bits = _mixed(lines[:, :, None] ^ _mixed(column + 0x1B873593))
    # The first 24 bits decide: engines that compare integers as floats (OpenVINO) then answer the same.
    return bits.bitwise_and_(-256) < (int(rate * 2**32) - 2**31 & -256)


def _mixed(bits: Tensor) -> Tensor:
    """Every bit of an int32 spread over all of it: two rounds of multiplication and shift; sums wrap around."""
    bits = bits ^ ((bits >> 16) & 0xFFFF)
    bits.mul_(0x7FEB352D)
    bits ^= (bits >> 15) & 0x1FFFF
    bits.mul_(_signed(0x846CA68B))
    bits ^= (bits >> 16) & 0xFFFF
    return bits


def _mixed_number(*numbers: int) -> int:
    """One int32 of several numbers, by `_mixed` in Python's own numbers: a program that is traced holds it as it is."""
    found = 0
    for number in numbers:
        found = (found ^ number) & 0xFFFFFFFF
        found ^= found >> 16
        found = found * 0x7FEB352D & 0xFFFFFFFF
        found ^= found >> 15
        found = found * 0x846CA68B & 0xFFFFFFFF
        found ^= found >> 16
    return _signed(found)


def _signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number


def _stride(pixels: int, cells: int) -> int:
    """Pixels a cell; 0 where a map does not grow with the image."""
    return pixels // cells if cells > 0 else 0
