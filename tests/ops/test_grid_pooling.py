"""Pooling to a grid for programs of any size is PyTorch's adaptive pooling."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from toolkit.ops.grid_pooling import average_of_grid, maximum_of_grid


@pytest.mark.parametrize("grid", [1, 3, 7])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (6, 12), (13, 20)])
def test_it_is_adaptive_pooling(size: tuple[int, int], grid: int) -> None:
    maps = torch.randn((2, 3, *size), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(average_of_grid(maps, grid), F.adaptive_avg_pool2d(maps, grid))
    assert torch.equal(maximum_of_grid(maps, grid), F.adaptive_max_pool2d(maps, grid))
