"""Pooling of a map to so many cells a side, in operators that need no condition on sizes, for programs of any size."""

from __future__ import annotations

import torch
from torch import Tensor


def average_of_grid(maps: Tensor, grid: int) -> Tensor:
    """`F.adaptive_avg_pool2d`: (N, C, H, W) float -> (N, C, grid, grid).

    >>> average_of_grid(torch.arange(5.0).view(1, 1, 1, 5), 2).tolist()  # 0, 1, 2 and 2, 3, 4
    [[[[1.0, 3.0], [1.0, 3.0]]]]
    """
    rows, columns = (shares / shares.sum(1, keepdim=True) for shares in _shared(maps, grid))
    return torch.matmul(rows, torch.matmul(maps, columns.t()))


def maximum_of_grid(maps: Tensor, grid: int) -> Tensor:
    """`F.adaptive_max_pool2d`: (N, C, H, W) float -> (N, C, grid, grid).

    >>> maximum_of_grid(torch.arange(5.0).view(1, 1, 1, 5), 2).tolist()
    [[[[2.0, 4.0], [2.0, 4.0]]]]
    """
    rows, columns = (shares > 0 for shares in _shared(maps, grid))
    maps = torch.where(columns, maps[..., None, :], float("-inf")).amax(-1)  # (N, C, H, grid)
    return torch.where(rows, maps.transpose(2, 3)[..., None, :], float("-inf")).amax(-1).transpose(2, 3)


def _shared(maps: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """Which rows, (grid, H), and which columns, (grid, W), each cell is made of: 1 or 0 in the maps' type."""
    found = []
    for length in maps.shape[2:]:
        cell = torch.arange(grid, device=maps.device)[:, None]
        pixel = torch.arange(length, device=maps.device)
        # Pixel p is in cell i from floor(i * n / grid) to ceil((i + 1) * n / grid).
        inside = ((pixel + 1) * grid > cell * length) & (pixel * grid < (cell + 1) * length)
        found.append(inside.to(maps.dtype))
    return found[0], found[1]
