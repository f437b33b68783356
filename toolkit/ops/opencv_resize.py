"""OpenCV's resizing of bytes in plain tensor operators, for programs that have no OpenCV: its bytes, but for rare ties.

`cv2.resize` of uint8: INTER_LINEAR works in whole numbers with weights of 11 bits, INTER_AREA sums in floating point and
rounds (2x2 pixels in whole numbers, halves up). Sizes may be symbols: nothing here depends on a condition on them.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ONE = 2048
"""A weight of 1 in OpenCV's whole numbers (11 bits)."""
_GRID = 2.0**20
"""Steps of a gray level that means are rounded to first: a thousand times what float64 sums are off, and too fine to see."""


def resize_bytes(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) uint8 -> (N, C, *size) uint8: area averaging when the image shrinks, else linear, as `Resize` does.

    >>> resize_bytes(torch.tensor([[[[0, 1], [4, 8]]]], dtype=torch.uint8), (1, 1)).item()
    3
    """
    sides = torch.tensor(1.0, dtype=torch.float64)  # of symbols, comparisons must be tensors
    before = [sides * images.shape[axis] for axis in (2, 3)]
    shrinks = size[0] * size[1] < before[0] * before[1]
    both = (size[0] <= before[0]) & (size[1] <= before[1])
    linear = _linear(images, size, shrinks)
    return torch.where(shrinks & both, _area(images, size), linear)


def _linear(images: Tensor, size: tuple[int, int], as_area: Tensor) -> Tensor:
    """INTER_LINEAR; with `as_area` the places that INTER_AREA takes where one side grows."""
    values = images.to(torch.int32)
    first, second, low, high = _places(images.shape[3], size[1], as_area)
    rows = values.index_select(3, first) * low + values.index_select(3, second) * high
    first, second, low, high = (_column(one) for one in _places(images.shape[2], size[0], as_area, rows=True))
    top = _shifted(rows.index_select(2, first[:, 0]), 4) * low
    bottom = _shifted(rows.index_select(2, second[:, 0]), 4) * high
    total = _shifted(top, 16) + _shifted(bottom, 16) + 2
    return _shifted(total, 2).clamp(0, 255).to(torch.uint8)


def _shifted(values: Tensor, bits: int) -> Tensor:
    """Whole numbers without their last bits. ONNX divides them as float32, which does not hold all of 27 bits: float64 does."""
    return (values.double() / (1 << bits)).floor().to(torch.int32)


def _column(line: Tensor) -> Tensor:
    return line[:, None]


def _places(before: int, after: int, as_area: Tensor, *, rows: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For each pixel of a line the two it is made of and their weights: int64, int64, int32, int32.

    Beyond the first and last column OpenCV takes one pixel with the whole weight, beyond rows the same one twice: each
    part is rounded down, so that this is not the same.
    """
    pixel = torch.arange(after, dtype=torch.float64)
    scale = torch.full((), 1.0, dtype=torch.float64) * before / after
    place = ((pixel + 0.5) * scale - 0.5).float()
    below = place.floor()
    share = place - below
    begin = (pixel * scale).floor()
    rest = ((pixel + 1) - (begin + 1) / scale).float()
    rest = torch.where(rest <= 0, 0.0, rest - rest.floor())
    below = torch.where(as_area, begin.float(), below)
    share = torch.where(as_area, rest, share)
    if not rows:
        share = torch.where((below < 0) | (below >= before - 1), 0.0, share)
    first = below.clamp(0).long().clamp(max=before - 1)
    second = (below + 1).clamp(0).long().clamp(max=before - 1)
    return first, second, ((1 - share) * _ONE).round().int(), (share * _ONE).round().int()


def _area(images: Tensor, size: tuple[int, int]) -> Tensor:
    """INTER_AREA of an image that shrinks on both sides."""
    values = images.double()
    rows, columns = (_shares(images.shape[axis], after) for axis, after in zip((2, 3), size, strict=True))
    # Engines add in other orders: on this grid sums that are halves are halves for all of them, and go to the even number.
    means = (torch.matmul(rows, torch.matmul(values, columns.t())) * _GRID).round() / _GRID
    # Exactly 2x2 pixels: OpenCV adds 2 and shifts, so that halves go up; else the nearest, of two the even one.
    one = torch.tensor(1.0)
    halved = (one * images.shape[2] == 2 * size[0]) & (one * images.shape[3] == 2 * size[1])
    return torch.where(halved, (means + 0.5).floor(), means.round()).clamp(0, 255).to(torch.uint8)


def _shares(before: int, after: int) -> Tensor:
    """(after, before) float64: the share of each pixel of a line in each pixel of the shorter line; rows sum to 1."""
    scale = torch.full((), 1.0, dtype=torch.float64) * before / after
    begin = torch.arange(after, dtype=torch.float64)[:, None] * scale
    pixel = torch.arange(before, dtype=torch.float64)
    covered = torch.minimum(begin + scale, pixel + 1) - torch.maximum(begin, pixel)
    return covered.clamp(0) / scale
