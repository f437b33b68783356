"""Unpooling as a layer, so that it has a place and a name in a net."""

from __future__ import annotations

from torch import Tensor, nn

from toolkit.contracts import PoolIndices
from toolkit.ops.pooling import max_unpool


class MaxUnpool(nn.Module):
    """(N, C, h, w) and where the maxima stood -> (N, C, H, W), zeros elsewhere; `toolkit.ops.pooling.max_unpool`."""

    def forward(self, x: Tensor, indices: PoolIndices) -> Tensor:
        """(N, C, h, w) -> (N, C, H, W), as large as the map was before pooling."""
        return max_unpool(x, indices)
