"""From a map to a vector: pooling over the picture, then fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.errors import ImageSizeError, PartsError, Problem
from toolkit.ops.grid_pooling import average_of_grid, maximum_of_grid

GlobalPool = Literal["average", "max", "none"]
Activation = Literal["relu", "tanh", "sigmoid"]


class FullyConnected(nn.Module):
    """(N, C, H, W) -> (N, outputs).

    The map is pooled to grid x grid cells (adaptively: any H, W will do), flattened in the order C, H, W, and passed
    through linear layers with an activation between them.

    Args:
        in_channels: C, the channels of the map.
        outputs: width of the last layer, such as the number of classes.
        pool: `average` or `max`; `none` requires a map of exactly grid x grid cells.
        grid: cells along each side of the pooled map.
        hidden: widths of the layers before the last, in their order.
        dropout: probability before each linear layer, as many as there are layers; empty: none anywhere.
        activation: function between the linear layers, none behind the last.
        where: name of the part that messages begin with.

    Raises:
        PartsError: dropout has another length than the list of layers.
    """

    def __init__(
        self,
        in_channels: int,
        outputs: int,
        pool: GlobalPool = "average",
        grid: int = 1,
        hidden: Sequence[int] = (),
        dropout: Sequence[float] = (),
        activation: Activation = "relu",
        where: str = "",
    ):
        super().__init__()
        widths = [in_channels * grid**2, *hidden, outputs]
        if dropout and len(dropout) != len(widths) - 1:
            message = f"dropout has {len(dropout)} numbers, but there are {len(widths) - 1} linear layers"
            raise PartsError(Problem(where, message, "give one a layer, 0 for none"))
        self.pool, self.grid, self.where = pool, grid, where
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.dropouts = nn.ModuleList(nn.Dropout(p) for p in dropout or (0.0,) * len(self.linears))
        self.activation: nn.Module = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[activation]()

    def forward(self, features: Tensor) -> Tensor:
        """Raises ImageSizeError when pool is `none` and the map is not grid x grid."""
        x = self._pooled(features).flatten(1)
        for number, (linear, dropout) in enumerate(zip(self.linears, self.dropouts, strict=True)):
            if number:
                x = self.activation(x)
            x = linear(dropout(x))
        return x

    def _pooled(self, features: Tensor) -> Tensor:
        exporting = torch.compiler.is_exporting() and self.grid > 1  # PyTorch's would hold the example's size
        if self.pool == "average":
            return (average_of_grid if exporting else F.adaptive_avg_pool2d)(features, self.grid)
        if self.pool == "max":
            return (maximum_of_grid if exporting else F.adaptive_max_pool2d)(features, self.grid)
        height, width = features.shape[-2:]
        if (height, width) != (self.grid, self.grid):
            message = f"needs a map of {self.grid}x{self.grid} cells, but the images give {height}x{width}"
            raise ImageSizeError(Problem(self.where, message, "resize the images, or let the head pool"))
        return features


def cells_of_image(
    features: Tensor, stride: int, border: int, image_size: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    """The part of one image's map (1, C, H, W) that lies on the image and not on padding at the right and bottom.

    Args:
        features: the map of an image padded from `size` to `image_size`, both (height, width).
        stride: pixels from one cell to the next.
        border: pixels at each edge that the map does not cover.
        image_size: (height, width) of the padded image in pixels.
        size: (height, width) of the image itself in pixels.
    """
    height, width = (
        full if own >= padded else max(1, min(full, -(-(own - 2 * border) // stride)))
        for full, padded, own in zip(features.shape[-2:], image_size, size, strict=True)
    )
    return features[..., :height, :width]
