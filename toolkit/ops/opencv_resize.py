"""OpenCV's resizing of bytes in plain tensor operators, for programs that have no OpenCV: its bytes, but for rare ties.

`cv2.resize` of uint8: INTER_LINEAR works in whole numbers with weights of 11 bits; INTER_AREA takes means, which are here
of whole numbers too and rounded as they are, where OpenCV's float32 sums part from them in one byte of thousands.

Every engine must give the same bytes, and no arithmetic is common to all but whole numbers below 2^24 in float32 (sums of
them, in any order) and below 2^31 in int32 (OpenVINO takes float64 for float32, and divides whole numbers as float32, as
ONNX programs do). So numbers are cut into digits of 8 bits wherever they grow larger. It holds up to sides of 32,000
pixels. Sizes may be symbols: nothing here depends on a condition on them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_ONE = 2048
"""A weight of 1 in OpenCV's whole numbers (11 bits)."""
_DIGIT = 256
"""What digits are of: times a side, or a weight, they stay below 2^24."""


def resize_bytes(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) uint8 -> (N, C, *size) uint8: area averaging when the image shrinks, else linear, as `Resize` does.

    >>> resize_bytes(torch.tensor([[[[0, 1], [4, 8]]]], dtype=torch.uint8), (1, 1)).item()
    3
    """
    one = torch.ones((), dtype=torch.int64)  # of symbols, comparisons must be tensors; with 0 they are exact everywhere
    before = [one * images.shape[axis] for axis in (2, 3)]
    shrinks = size[0] * size[1] - before[0] * before[1] < 0
    both = (size[0] - before[0] <= 0) & (size[1] - before[1] <= 0)
    values = images.float()
    linear = _linear(values, size, shrinks)
    return torch.where(shrinks & both, _area(values, size), linear).to(torch.uint8)


def half_levels(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where a shrunk image is half-way between two levels, as near as OpenCV's sums of float32 can tell: (h, w, C) bool.

    There either byte is right. Nowhere for an image that does not shrink on both sides: that is whole numbers in OpenCV, too.

    Args:
        image: (H, W, C) uint8, as it is before it shrinks.
        size: (h, w) that it is resized to.

    >>> half_levels(np.array([[[0], [1], [2], [4]]], np.uint8), (1, 2)).ravel().tolist()
    [True, False]
    """
    height, width = image.shape[:2]
    if size[0] > height or size[1] > width or size == (height, width):
        return np.zeros((*size, image.shape[2]), np.bool_)
    rows, columns = (_overlaps(*sides).double().numpy() for sides in ((height, size[0]), (width, size[1])))
    values = np.moveaxis(rows @ np.moveaxis(image, 2, 0) @ columns.T, 0, 2) / (height * width)
    additions = height / size[0] + width / size[1] + 4
    return np.abs(values - np.floor(values) - 0.5) <= 255 * 2.0**-24 * additions


def _linear(values: Tensor, size: tuple[int, int], as_area: Tensor) -> Tensor:
    """INTER_LINEAR of 0..255 in float32; with `as_area` the places that INTER_AREA takes where one side grows."""
    first, second, low, high = _places(values.shape[3], size[1], as_area)
    rows = values.index_select(3, first) * low + values.index_select(3, second) * high
    rows = (rows / 16).floor()
    first, second, low, high = _places(values.shape[2], size[0], as_area, rows=True)
    top = _scaled(rows.index_select(2, first), low[:, None])
    bottom = _scaled(rows.index_select(2, second), high[:, None])
    return ((top + bottom + 2) / 4).floor().clamp(0, 255)


def _scaled(rows: Tensor, weights: Tensor) -> Tensor:
    """rows * weights / 65536, rounded down, of numbers whose products have 26 bits."""
    whole, rest = _cut(rows)
    return ((whole * weights + (rest * weights / _DIGIT).floor()) / _DIGIT).floor()


def _cut(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers in float32 as (n // 256, n % 256)."""
    whole = (numbers / _DIGIT).floor()
    return whole, numbers - whole * _DIGIT


def _places(before: int, after: int, as_area: Tensor, *, rows: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For each pixel of a line the two it is made of, int64, and their weights, whole numbers in float32.

    Beyond the first and last column OpenCV takes one pixel with the whole weight, beyond rows the same one twice: each
    part is rounded down, so that this is not the same.
    """
    pixel = torch.arange(after)
    cell, rest = _divided((2 * pixel + 1) * before - after, 2 * after)
    place = cell.float() + rest.float() / (2 * after)  # in float32 as OpenCV has it, less exact far from 0
    below = place.floor()
    share = place - below
    begin, _ = _divided(pixel * before, after)
    covered = ((pixel + 1) * before - (begin + 1) * after).float() / before
    covered = torch.where(covered <= 0, 0.0, covered - covered.floor())
    below = torch.where(as_area, begin.float(), below)
    share = torch.where(as_area, covered, share)
    if not rows:
        share = torch.where((below < 0) | (below - (before - 1) >= 0), 0.0, share)
    first = below.clamp(0).long().clamp(max=before - 1)
    second = (below + 1).clamp(0).long().clamp(max=before - 1)
    return first, second, ((1 - share) * _ONE).round(), (share * _ONE).round()


def _divided(numbers: Tensor, by: int) -> tuple[Tensor, Tensor]:
    """Whole numbers of up to 31 bits as (n // by, n % by), for quotients of up to 2^20: one guess in float32, put right."""
    guess = (numbers.float() / by).floor().long()
    rest = numbers - guess * by
    guess = guess + (rest - by >= 0).long() - (rest < 0).long()
    return guess, numbers - guess * by


def _area(values: Tensor, size: tuple[int, int]) -> Tensor:
    """INTER_AREA of 0..255 in float32, of an image that shrinks on both sides."""
    height, width = values.shape[2], values.shape[3]
    rows, columns = (_overlaps(before, after) for before, after in ((height, size[0]), (width, size[1])))
    sums = torch.matmul(values, columns.t())  # up to 255 * width
    upper, low = _cut(sums)
    high, middle = _cut(upper)
    high, middle, low = (torch.matmul(rows, digit) for digit in (high, middle, low))
    # The sum, high * 65536 + middle * 256 + low, is to be divided by height * width: a quotient that may be one too small,
    # and then half of what is left over says whether it is.
    level = (((high * _DIGIT + middle) * _DIGIT + low) / height / width).floor()
    above = _sign_of_rest((high, middle, low), 2 * level + 1, height, width)
    # Exactly 2x2 pixels: OpenCV adds 2 and shifts, so that halves go up; else to the even number.
    one = torch.ones((), dtype=torch.int64)
    halved = (one * height - 2 * size[0] == 0) & (one * width - 2 * size[1] == 0)
    odd = level - 2 * (level / 2).floor() > 0
    up = (above > 0) | ((above == 0) & (odd | halved))
    return (level + up.float()).clamp(0, 255)


def _sign_of_rest(digits: tuple[Tensor, Tensor, Tensor], halves: Tensor, height: int, width: int) -> Tensor:
    """A number with the sign of 2 * sum - halves * height * width.

    Args:
        digits: the sum as high * 65536 + middle * 256 + low, each a whole number below 2^23 in float32.
        halves: whole numbers of 0 to 511.
        height: below 2^15.
        width: below 2^15.
    """
    upper, low = _cut(halves * width)
    high, middle = _cut(upper)
    gaps = [2 * mine - theirs * height for mine, theirs in zip(digits, (high, middle, low), strict=True)]
    carried, low = _cut(gaps[2])
    carried, middle = _cut(gaps[1] + carried)
    # Below 0 the first is -1 at most, and outweighs the others however its product is rounded.
    return (gaps[0] + carried) * _DIGIT**2 + middle * _DIGIT + low


def _overlaps(before: int, after: int) -> Tensor:
    """(after, before) float32: how much of each pixel of a line each of the shorter line covers, in parts of 1 / after.

    Rows sum to `before`.

    >>> _overlaps(3, 2).tolist()
    [[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]
    """
    begin = torch.arange(after)[:, None] * before
    pixel = torch.arange(before) * after
    covered = torch.minimum(begin + before, pixel + after) - torch.maximum(begin, pixel)
    return covered.clamp(0).float()
