"""DenseNet (Huang et al. 2017, arXiv 1608.06993), with torchvision's names and numbers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.contracts import BACKBONES, IMAGENET_STATS, Backbone, FeaturePyramid, PyramidSpec, SizeRule
from toolkit.layers.pool_kind import pool2d
from toolkit.layers.pooling import PoolingKind, pooling_layer
from toolkit.layers.stats import stats_for_channels
from toolkit.weights.fit import fill_from

DEPTHS = {
    121: (64, 32, (6, 12, 24, 16)),
    161: (96, 48, (6, 12, 36, 24)),
    169: (64, 32, (6, 12, 32, 32)),
    201: (64, 32, (6, 12, 48, 32)),
}
"""Table 1 of the paper: width of the stem, growth rate k, layers a block. (161 is the authors' own, k = 48.)"""

BOTTLENECK = 4
"""The 1x1 convolution makes 4k maps (section 3, "bottleneck layers")."""


@BACKBONES.register("densenet")
class DenseNet(Backbone):
    """Four blocks in which every layer reads all maps before it.

    Maps: the stem after its ReLU at stride 2, then each block's output after the batch norm and ReLU that follow it,
    at strides 4, 8, 16, 32 (depth 121: 64, 256, 512, 1024, 1024 channels). Transitions halve a map rounding down.
    With the `image` head and 1000 classes: 7,978,856 parameters (121), 28,681,000 (161), 14,149,480 (169),
    20,013,928 (201).

    Args:
        depth: number of layers with weights: 121, 161, 169 or 201; 161 is the widest.
        in_channels: channels of the images; published weights of 3 are repeated in turn for more (`weights/channels.py`).
        pooling: kind of the stem's 3x3 pooling; the transitions average, as in the paper.
        weights: torchvision's name (`IMAGENET1K_V1`), or a file with the names of torchvision, timm, smp or Caffe.
    """

    def __init__(
        self,
        depth: Literal[121, 161, 169, 201] = 121,
        in_channels: PositiveInt = 3,
        pooling: PoolingKind = "max",
        weights: str | None = None,
    ):
        super().__init__()
        width, growth, layers = DEPTHS[depth]
        self.conv0 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.norm0 = nn.BatchNorm2d(width)
        self.pool0 = _stem_pooling(pooling)
        channels = [width]
        for block, count in enumerate(layers, start=1):
            setattr(self, f"denseblock{block}", _block(width, growth, count))
            width += count * growth
            channels.append(width)
            if block < len(layers):
                setattr(self, f"transition{block}", Transition(width))
                width //= 2
        self.pixel_stats = stats_for_channels(IMAGENET_STATS, in_channels)
        self.norm5 = nn.BatchNorm2d(width)
        self.spec = PyramidSpec(tuple(channels), (2, 4, 8, 16, 32), sizes=SizeRule(29))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        if weights is not None:
            self.origin = fill_from(self, weights, "densenet", f"densenet{depth}")

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Images (N, 3, H, W), normalised."""
        maps = [torch.relu(self.norm0(self.conv0(images)))]
        x = self.pool0(maps[0])
        for block in (1, 2, 3):
            x = getattr(self, f"denseblock{block}")(x)
            transition = getattr(self, f"transition{block}")
            maps.append(torch.relu(transition.norm(x)))
            x = transition(maps[-1])
        maps.append(torch.relu(self.norm5(self.get_submodule("denseblock4")(x))))
        return FeaturePyramid(tuple(maps), self.spec, (images.shape[-2], images.shape[-1]))


def _stem_pooling(kind: PoolingKind) -> nn.Module:
    """3x3 of stride 2, padded by 1."""
    if kind == "max" or kind == "average":
        return pool2d(kind, 3, 2, padding=1)
    return nn.Sequential(nn.ZeroPad2d(1), pooling_layer(kind, 3, 2))  # zeros add nothing to either kind


def _block(width: int, growth: int, layers: int) -> nn.Sequential:
    block = nn.Sequential()
    for layer in range(layers):
        block.add_module(f"denselayer{layer + 1}", DenseLayer(width + layer * growth, growth))
    return block


class DenseLayer(nn.Module):
    """Batch norm, ReLU, 1x1 to 4k, batch norm, ReLU, 3x3 to k; the result joins its input."""

    def __init__(self, in_channels: int, growth: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, BOTTLENECK * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * growth)
        self.conv2 = nn.Conv2d(BOTTLENECK * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C + k, H, W)."""
        narrow = self.conv1(torch.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(torch.relu(self.norm2(narrow)))], 1)


class Transition(nn.Module):
    """1x1 convolution to half the maps and 2x2 average, after `norm` and a ReLU that the net applies itself."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """A map (N, C, H, W) that is normalised and activated already, to (N, C / 2, H // 2, W // 2)."""
        return self.pool(self.conv(x))
