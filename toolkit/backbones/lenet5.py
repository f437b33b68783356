"""LeNet-5 (LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition", II.B)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.contracts import BACKBONES, Backbone, FeaturePyramid, PixelStats, PyramidSpec, SizeRule
from toolkit.errors import ConfigError, Problem
from toolkit.layers.pooling import PoolingKind, pooling_layer
from toolkit.weights.fit import fill_from

C3_TABLE = (
    *((i, (i + 1) % 6, (i + 2) % 6) for i in range(6)),
    *(tuple(sorted((i + k) % 6 for k in range(4))) for i in range(6)),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)
"""Which of the six maps each of the sixteen maps of C3 reads: Table I of the paper, 60 kernels in all."""


@BACKBONES.register("lenet5")
class LeNet5(Backbone):
    """5x5 convolution to 6 maps, pooling, 5x5 convolution to 16 maps, pooling.

    Maps: 6 at stride 1, 16 at stride 2, 16 at stride 4; with the `image` head (`pool: none`, `grid: 5`,
    `hidden: [120, 84]`, 10 classes) 61,706 parameters, the count of the usual build. The convolutions lose borders.
    Images are scaled to -1..1.

    Args:
        in_channels: channels of the images: 1 for gray, 3 for RGB.
        padding: 2 for 28x28 images, 0 for 32x32 (the paper puts 28x28 digits into 32x32).
        pooling: kind of the 2x2 pooling. The usual build takes `max` or `average`; `trainable` is the paper's
            sub-sampling, a coefficient and a bias a map and a sigmoid (12 and 32 parameters).
        activation: function after the convolutions; `scaled_tanh` is the paper's 1.7159 tanh(2/3 x), and `sigmoid`, with
            `pooling: average` and the head's `activation: sigmoid`, the form in which LeNet is often taught.
        connections: `full`, or `table` for C3 as in the paper's Table I (1,516 parameters instead of 2,416).
        weights: a local .pth or .safetensors file with this backbone's names, behind any beginning.

    Raises:
        ConfigError: stochastic pooling behind an activation with negative values.
    """

    def __init__(
        self,
        in_channels: Literal[1, 3] = 1,
        padding: Literal[0, 2] = 2,
        pooling: PoolingKind | Literal["trainable"] = "max",
        activation: Literal["relu", "tanh", "scaled_tanh", "sigmoid"] = "relu",
        connections: Literal["full", "table"] = "full",
        weights: str | None = None,
    ):
        super().__init__()
        if pooling == "stochastic" and activation not in ("relu", "sigmoid"):
            message = f"stochastic pooling needs activations that are never negative, and {activation} gives such"
            raise ConfigError(Problem("backbone 'lenet5'", message, "set activation: relu"))
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=padding)
        self.conv2: nn.Module = nn.Conv2d(6, 16, 5) if connections == "full" else TableConv(C3_TABLE, 5)
        self.pool1: nn.Module = Subsampling(6) if pooling == "trainable" else pooling_layer(pooling, 2)
        self.pool2: nn.Module = Subsampling(16) if pooling == "trainable" else pooling_layer(pooling, 2)
        functions = {"relu": nn.ReLU, "tanh": nn.Tanh, "scaled_tanh": ScaledTanh, "sigmoid": nn.Sigmoid}
        self.activation: nn.Module = functions[activation]()
        self.pixel_stats = PixelStats((0.5,) * in_channels, (0.5,) * in_channels)
        lost = 2 - padding
        self.spec = PyramidSpec(
            (6, 16, 16), (1, 2, 4), borders=(lost, lost + 4, lost + 4), sizes=SizeRule(12 + lost * 2)
        )
        if weights is not None:
            self.origin = fill_from(self, weights, "lenet5")

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Images (N, in_channels, H, W); 28x28 padded by 2, or 32x32, end in 16 x 5 x 5."""
        first = self.activation(self.conv1(images))
        second = self.activation(self.conv2(self.pool1(first)))
        return FeaturePyramid((first, second, self.pool2(second)), self.spec, (images.shape[-2], images.shape[-1]))


class TableConv(nn.Module):
    """A convolution whose every output map reads its own choice of input maps.

    table: for each output map the indices of its inputs.
    """

    def __init__(self, table: tuple[tuple[int, ...], ...], kernel_size: PositiveInt):
        super().__init__()
        self.table = table
        self.kernels = nn.ModuleList(nn.Conv2d(len(inputs), 1, kernel_size) for inputs in table)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, len(table), H - k + 1, W - k + 1)."""
        return torch.cat([conv(x[:, list(inputs)]) for conv, inputs in zip(self.kernels, self.table, strict=True)], 1)


class Subsampling(nn.Module):
    """The paper's pooling: sum of 2x2 pixels times a trainable coefficient, plus a trainable bias, into a sigmoid."""

    def __init__(self, channels: PositiveInt):
        super().__init__()
        self.coefficient = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H // 2, W // 2)."""
        total = 4 * nn.functional.avg_pool2d(x, 2)
        return torch.sigmoid(total * self.coefficient + self.bias)


class ScaledTanh(nn.Module):
    """1.7159 tanh(2/3 x), the paper's appendix A: f(1) = 1, f(-1) = -1."""

    def forward(self, x: Tensor) -> Tensor:
        """1.7159 tanh(2/3 x) of every element; any shape."""
        return 1.7159 * torch.tanh(x * (2 / 3))
