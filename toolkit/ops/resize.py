"""Bilinear resizing of maps of numbers (logits, probabilities), and from a map's cells to the image's pixels.

Three grids say where cell i of a map of stride s lies in the image:

* `half_pixel`: the cell covers the pixels s*i .. s*i + s - 1 and its value stands in their middle, s*i + (s - 1) / 2.
  `torch.nn.functional.interpolate(align_corners=False)`; what nearly every present-day net uses.
* `corner`: its value stands at pixel s*i. The same as `align_corners=True` on a grid of (n - 1) * s + 1 pixels. Yu and
  Koltun's dilated nets are upsampled so on VOC, CamVid and KITTI (dilation, `util.py`, `interp_map`).

* `ends`: the first and the last value stand on the first and the last of the map's pixels, and the others between them at
  equal distances: `align_corners=True` to s times the size. Nets of segmentation-models-pytorch are upsampled so.

Pixels outside the outermost values repeat them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Grid = Literal["half_pixel", "corner", "ends"]


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (N, C, h, w) as (N, C, *size), bilinear, on the half-pixel grid. The same tensor when nothing changes.

    >>> resize(torch.tensor([[[[0.0, 4.0]]]]), (1, 4)).flatten().tolist()
    [0.0, 1.0, 3.0, 4.0]
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def upsample(maps: Tensor, stride: int, size: tuple[int, int], grid: Grid = "half_pixel") -> Tensor:
    """Maps of a stride as (N, C, *size) pixels; pixel (0, 0) is the first that cell (0, 0) covers.

    The factor is exactly the stride: what reaches beyond `size` (maps of rounded-up sizes) is cut off, and what is
    missing (rounded-down sizes) repeats the last value.

    Args:
        maps: (N, C, h, w) float values of the cells.
        stride: pixels of the image from one cell to the next.
        size: (height, width) of the result in pixels.
        grid: where in the image the value of a cell stands (top of the file).

    >>> maps = torch.tensor([[[[0.0, 4.0]]]])
    >>> upsample(maps, 2, (1, 5)).flatten().tolist()  # the fifth pixel lies beyond the last cell
    [0.0, 1.0, 3.0, 4.0, 4.0]
    >>> upsample(maps, 2, (1, 3), "corner").flatten().tolist()
    [0.0, 2.0, 4.0]
    """
    if stride > 1:
        height, width = maps.shape[-2:]
        if grid == "half_pixel":
            maps = resize(maps, (height * stride, width * stride))
        elif grid == "ends":
            maps = F.interpolate(maps, scale_factor=stride, mode="bilinear", align_corners=True)
        else:
            corners = ((height - 1) * stride + 1, (width - 1) * stride + 1)
            maps = F.interpolate(maps, size=corners, mode="bilinear", align_corners=True)
    missing = (max(0, size[0] - maps.shape[-2]), max(0, size[1] - maps.shape[-1]))
    if any(missing):
        maps = F.pad(maps, (0, missing[1], 0, missing[0]), mode="replicate")
    return maps[..., : size[0], : size[1]]


def pixel_positions(cells: int, stride: int, pixels: int, grid: Grid) -> Tensor:
    """Where, in cells, the pixels 0 .. `pixels` - 1 lie on a line of values: (pixels,) float64.

    Args:
        cells: number of values on the line.
        stride: pixels from one value to the next.
        pixels: number of positions asked for, from the first pixel on.
        grid: where in the image the value of a cell stands (top of the file).

    >>> pixel_positions(2, 2, 5, "half_pixel").tolist()
    [0.0, 0.25, 0.75, 1.0, 1.0]
    >>> pixel_positions(2, 2, 5, "corner").tolist()
    [0.0, 0.5, 1.0, 1.0, 1.0]
    >>> pixel_positions(2, 2, 4, "ends").tolist()  # in thirds
    [0.0, 0.3333333333333333, 0.6666666666666666, 1.0]
    """
    pixel = torch.arange(pixels, dtype=torch.float64)
    if grid == "ends":
        cell = pixel * ((cells - 1) / max(1, cells * stride - 1))
    else:
        cell = pixel / stride if grid == "corner" else (pixel + 0.5) / stride - 0.5
    return cell.clamp(0, cells - 1)


def resize_positions(before: int, after: int) -> Tensor:
    """Where the `after` values of a resized line lie among its `before` values, half-pixel grid: (after,) float64.

    >>> resize_positions(2, 4).tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    return ((torch.arange(after, dtype=torch.float64) + 0.5) * (before / after) - 0.5).clamp(0, before - 1)


def sample_rows(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Maps read at the crossings of fractional rows and columns: (len(rows), len(columns), C), bilinear.

    `resize` and `upsample` of any band of the result, without making the rest. Channels come last because that is two to
    three times faster, here and where the classes are compared.

    Args:
        maps: (h, w, C) float values, channels last.
        rows: rows to read at, 0..h-1, ascending and at least one: a slice of `resize_positions` or `pixel_positions`.
        columns: columns to read at, 0..w-1: a slice of the same functions.

    >>> maps = torch.tensor([[[0.0], [4.0]]])  # one row, two columns, one channel
    >>> sample_rows(maps, torch.tensor([0.0]), torch.tensor([0.0, 0.25, 1.0])).flatten().tolist()
    [0.0, 1.0, 4.0]
    """
    first, end = int(rows[0]), int(rows[-1]) + 2
    return _between(_between(maps[first:end], columns, 1), rows - first, 0)


def _between(maps: Tensor, positions: Tensor, dim: int) -> Tensor:
    """Linear interpolation along one of the first two dimensions, at fractional positions within it."""
    before = positions.floor()
    first = before.long()
    if torch.equal(before, positions):
        return _take(maps, first, dim)
    share = (positions - before).to(maps).reshape(-1, 1, 1) if dim == 0 else (positions - before).to(maps)[:, None]
    second = (first + 1).clamp_max(maps.shape[dim] - 1)
    return torch.lerp(_take(maps, first, dim), _take(maps, second, dim), share)


def _take(maps: Tensor, index: Tensor, dim: int) -> Tensor:
    if torch.equal(index, torch.arange(len(index))):
        return maps.narrow(dim, 0, len(index))  # nothing is repeated: a view does
    return maps.index_select(dim, index.to(maps.device))


def in_pixels(maps: Tensor, stride: int, size: tuple[int, int], grid: Grid = "half_pixel") -> Tensor:
    """`upsample` in operators that need no condition on sizes, for programs whose sizes are symbols: (N, C, *size).

    Args:
        maps: (N, C, h, w) float values of the cells.
        stride: pixels of the image from one cell to the next.
        size: (height, width) of the result in pixels.
        grid: where in the image the value of a cell stands (top of the file).

    >>> in_pixels(torch.tensor([[[[0.0, 4.0]]]]), 2, (1, 5)).flatten().tolist()
    [0.0, 1.0, 3.0, 4.0, 4.0]
    """
    if stride == 1:
        for axis in (2, 3):  # copied: a program would hold the memory order of a view with gaps against other sizes
            maps = maps.index_select(axis, torch.arange(size[axis - 2], device=maps.device))
        return maps
    for axis in (2, 3):
        maps = _read_line(maps, axis, pixel_positions(maps.shape[axis], stride, size[axis - 2], grid))
    return maps


def resampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """`resize` in operators that need no condition on sizes: (N, C, h, w) float -> (N, C, *size)."""
    for axis in (2, 3):
        maps = _read_line(maps, axis, resize_positions(maps.shape[axis], size[axis - 2]))
    return maps


def _read_line(maps: Tensor, axis: int, places: Tensor) -> Tensor:
    """Maps (N, C, h, w) read along an axis at fractional places."""
    places = places.to(maps.device)
    below = places.floor()
    share = (places - below).to(maps.dtype)
    first = below.long()
    second = (first + 1).clamp(max=maps.shape[axis] - 1)
    share = share[:, None] if axis == 2 else share
    return torch.lerp(maps.index_select(axis, first), maps.index_select(axis, second), share)


class LineWeights(NamedTuple):
    """Linear interpolation at P positions of a line, as `torch.lerp` does it: from the nearer value on.

    Args:
        low: (P,) int32, the value before each position.
        high: (P,) int32, the value behind it.
        share: (P,) float32 share of high - low, added to high where its sign is negative (-0.5..-0), else to low (0..0.5);
            None where all positions are values themselves.
    """

    low: Tensor
    high: Tensor
    share: Tensor | None


def line_weights(positions: Tensor, values: int) -> LineWeights:
    """What interpolation at fractional positions of a line reads, for kernels that do what `sample_rows` does.

    positions: (P,) float64, 0..values - 1. values: how many values the line has.

    >>> low, high, share = line_weights(torch.tensor([0.25, 0.75], dtype=torch.float64), 2)
    >>> low.tolist(), high.tolist(), share.tolist()
    ([0, 0], [1, 1], [0.25, -0.25])
    """
    before = positions.floor()
    low = before.int()
    if torch.equal(before, positions):
        return LineWeights(low, low, None)
    share = (positions - before).float()
    # Where the share is rounded up to 1 it becomes -0, whose sign still says where it is added.
    return LineWeights(low, (low + 1).clamp_max(values - 1), torch.where(share < 0.5, share, -(1 - share)))
