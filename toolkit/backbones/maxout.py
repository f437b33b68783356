"""A net of convolutional maxout layers."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from toolkit.bounds import PositiveInt, Probability
from toolkit.contracts import BACKBONES, Backbone, FeaturePyramid, PixelStats, PyramidSpec
from toolkit.errors import ConfigError, Problem
from toolkit.layers.conv import same_padding
from toolkit.layers.pooling import Maxout
from toolkit.weights.fit import fill_from


@BACKBONES.register("maxout")
class MaxoutNet(Backbone):
    """Convolutions whose activation is the largest of several linear answers, each followed by 2x2 maximum pooling.

    Goodfellow, Warde-Farley, Mirza, Courville and Bengio 2013, "Maxout networks" (arXiv 1302.4389), section 5.1: three
    convolutional maxout layers with maximum pooling, here with the widths and pieces of the authors' MNIST net (48, 48
    and 24 units of 2, 2 and 4 pieces) but kernels that keep the size. A unit is convex in its input. Made for dropout.
    Maps after every pooling, at strides 2, 4, 8.

    Args:
        in_channels: channels of the images: 1 for gray, 3 for RGB.
        widths: units of each layer, first to last.
        pieces: linear answers of a unit of each layer, of which the largest counts.
        kernel_size: side of the kernels in cells, odd.
        dropout: probability, 0..1, that a value that enters a layer but the first is dropped.
        weights: a local .pth or .safetensors file with this backbone's names, behind any beginning; None is random.

    Raises:
        ConfigError: not as many pieces as widths, or none; an even kernel.
        CheckpointError: weights that cannot be read or do not fit.
    """

    def __init__(
        self,
        in_channels: PositiveInt = 1,
        widths: list[PositiveInt] | None = None,
        pieces: list[PositiveInt] | None = None,
        kernel_size: PositiveInt = 5,
        dropout: Probability = 0.5,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        channels = [48, 48, 24] if widths is None else widths
        counts = [2, 2, 4] if pieces is None else pieces
        if not channels or len(channels) != len(counts):
            message = f"{len(channels)} widths and {len(counts)} numbers of pieces: every layer has one of each"
            raise ConfigError(Problem("backbone 'maxout'", message, "give two lists of the same length"))
        if kernel_size % 2 == 0:
            message = f"kernel_size {kernel_size} is even and has no centre"
            raise ConfigError(Problem("backbone 'maxout'", message, "choose an odd one"))
        self.spec = PyramidSpec(tuple(channels), tuple(2 ** (place + 1) for place in range(len(channels))))
        self.pixel_stats = PixelStats((0.5,) * in_channels, (0.5,) * in_channels)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(dropout if place else 0.0),
                nn.Conv2d(before, after * count, kernel_size, padding=same_padding(kernel_size)),
                Maxout(count),
                nn.MaxPool2d(2, ceil_mode=True),
            )
            for place, ((before, after), count) in enumerate(
                zip(pairwise([in_channels, *channels]), counts, strict=True)
            )
        )
        if weights is not None:
            self.origin = fill_from(self, weights, "maxout")

    def forward(self, images: Tensor) -> FeaturePyramid:
        """(N, in_channels, H, W) -> a map (N, width, H / 2^k, W / 2^k), rounded up, after the k-th layer."""
        maps = [images]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        return FeaturePyramid(tuple(maps[1:]), self.spec, (images.shape[-2], images.shape[-1]))
