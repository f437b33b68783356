"""AlexNet: torchvision's (Krizhevsky 2014, arXiv 1404.5997) and the net of 2012."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.contracts import BACKBONES, IMAGENET_STATS, Backbone, FeaturePyramid, PyramidSpec, SizeRule
from toolkit.errors import ConfigError, Problem
from toolkit.layers.pooling import PoolingKind, pooling_layer
from toolkit.layers.stats import stats_for_channels
from toolkit.weights.fit import fill_from
from toolkit.weights.read import is_file


@BACKBONES.register("alexnet")
class AlexNet(Backbone):
    """Five convolutions and three 3x3 poolings of stride 2.

    Maps: after conv1, conv2, conv5 and the last pooling, at strides 4, 8, 16, 32; 55, 27, 13 and 6 cells from 224.
    With the `image` head (`grid: 6`, `hidden: [4096, 4096]`, dropout 0.5 before and between) and 1000 classes:
    61,100,840 parameters; `variant: "2012"`: 60,965,224; the same with `groups: 1`: 62,378,344.

    Args:
        variant: `torchvision`: 64, 192, 384, 256, 256 maps, no normalisation, conv1 padded by 2, for 224x224.
            `2012`: Krizhevsky, Sutskever and Hinton 2012, section 3: 96, 256, 384, 384, 256 maps, local response
            normalisation after conv1 and conv2 (size 5, alpha 1e-4 a pixel, beta 0.75, k 2), conv2, conv4 and conv5
            in two groups, no padding in conv1, for 227x227; drawn from N(0, 0.01), biases of conv2, conv4, conv5 at 1.
        groups: groups of the 2012 net's conv2, conv4, conv5; 1 joins what its two graphics cards kept apart.
        in_channels: channels of the images; published weights of 3 are repeated in turn for more (`weights/channels.py`).
        pooling: kind of the three pooling layers; maximum in both variants.
        weights: torchvision's name (`IMAGENET1K_V1`), for its variant, or a file with its names or Caffe's.

    Raises:
        ConfigError: torchvision's weights for the 2012 variant, which it has not.
    """

    def __init__(
        self,
        variant: Literal["torchvision", "2012"] = "torchvision",
        groups: Literal[1, 2] = 2,
        in_channels: PositiveInt = 3,
        pooling: PoolingKind = "max",
        weights: str | None = None,
    ):
        super().__init__()
        old = variant == "2012"
        widths = (96, 256, 384, 384, 256) if old else (64, 192, 384, 256, 256)
        split = groups if old else 1
        self.conv1 = nn.Conv2d(in_channels, widths[0], 11, stride=4, padding=0 if old else 2)
        self.conv2 = nn.Conv2d(widths[0], widths[1], 5, padding=2, groups=split)
        self.conv3 = nn.Conv2d(widths[1], widths[2], 3, padding=1)
        self.conv4 = nn.Conv2d(widths[2], widths[3], 3, padding=1, groups=split)
        self.conv5 = nn.Conv2d(widths[3], widths[4], 3, padding=1, groups=split)
        # torch divides alpha by the size of the window, the paper does not: 5 * 1e-4.
        self.normalise = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0) if old else nn.Identity()
        self.relu = nn.ReLU()
        self.pool1, self.pool2, self.pool3 = (pooling_layer(pooling, 3, 2) for _ in range(3))
        channels = (widths[0], widths[1], widths[4], widths[4])
        # Centre of the first receptive field minus half a cell; the 2012 net's 3.5, 5.5, 9.5, 17.5 are rounded down.
        borders = (3, 5, 9, 17) if old else (2, 4, 8, 16)
        self.pixel_stats = stats_for_channels(IMAGENET_STATS, in_channels)
        self.spec = PyramidSpec(channels, (4, 8, 16, 32), borders=borders, sizes=SizeRule(67 if old else 63))
        if old:
            self._initialise()
        if weights is not None:
            if old and not is_file(weights):
                message = f"nobody publishes '{weights}' of the 2012 net"
                raise ConfigError(Problem("weights", message, "name a file (Caffe's names will do), or weights: null"))
            self.origin = fill_from(self, weights, "alexnet", "alexnet")

    def _initialise(self) -> None:
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            nn.init.normal_(conv.weight, 0.0, 0.01)
            nn.init.constant_(conv.bias, 0.0 if conv in (self.conv1, self.conv3) else 1.0)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Images (N, 3, H, W), normalised."""
        first = self.relu(self.conv1(images))
        second = self.relu(self.conv2(self.pool1(self.normalise(first))))
        x = self.relu(self.conv3(self.pool2(self.normalise(second))))
        third = self.relu(self.conv5(self.relu(self.conv4(x))))
        maps = (first, second, third, self.pool3(third))
        return FeaturePyramid(maps, self.spec, (images.shape[-2], images.shape[-1]))
