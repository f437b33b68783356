"""The contracting path of the U-Net."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, cast

from annotated_types import Interval
from torch import Tensor, nn

from toolkit.bounds import PositiveInt, Probability
from toolkit.contracts import ANY_SIZE, BACKBONES, Backbone, FeaturePyramid, PixelStats, PyramidSpec, SizeRule
from toolkit.errors import ConfigError, Problem
from toolkit.layers.conv import ConvNormAct, Norm, Padding
from toolkit.layers.init import he_normal_
from toolkit.layers.row_bands import band_of_rows, in_bands, in_blocks
from toolkit.weights.fit import fill_from


def _valid_geometry(depth: int) -> tuple[tuple[int, ...], SizeRule]:
    """Border of each level, and the image sizes for which every pooling gets an even map.

    Level k loses 2 cells of 2^k pixels at each edge: borders 2, 6, 14, 30, 62. The coarsest map has
    (n - 2 * border) / stride cells, at least one: n = 16k + 12 >= 140 for five levels.
    """
    borders = tuple(2 ** (level + 2) - 2 for level in range(depth))
    stride = 2 ** (depth - 1)
    minimum = 2 * borders[-1] + stride
    return borders, SizeRule(minimum, stride, minimum % stride)


def _first_conv(before: int, after: int, padding: Padding, norm: Norm, stride: int) -> ConvNormAct:
    """The first convolution of a level; a stride makes the kernel wider, so that neighbouring windows overlap."""
    kernel_size = {1: 3, 2: 5, 4: 7}[stride]
    return ConvNormAct(before, after, kernel_size, stride, padding=padding, norm=norm)


@BACKBONES.register("unet_encoder")
class UNetEncoder(Backbone):
    """U-Net's contracting path: two 3x3 convolutions a level, 2x2 maximum pooling between levels.

    Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015, Fig. 1. The
    defaults are that net: 64 to 1024 channels at strides 1 to 16, unpadded convolutions with biases and no norm.
    Pixels are taken as 0..1, as the released demo does (`im2double`).

    Args:
        in_channels: channels of the images: 1 for gray, 3 for RGB.
        width: channels of the first level; every level doubles them.
        depth: number of levels, 1 to 8; the coarsest has stride 2^(depth - 1).
        padding: "valid" as in 2015: images have 16k + 12 pixels a side and map i misses `spec.borders[i]` of them at each
            edge. "same": any size; maps have ceil(n / stride) cells (odd maps are pooled with their last row and column).
        norm: normalisation after each convolution; the paper has none.
        dropout: probability, 0..1, that a value at the end of the contracting path is dropped, that is after the second
            convolutions of the last two levels (the skip connection of the last but one is dropped too). The paper names
            no number; the released net has 0.5.
        first_stride: stride of the finest map in pixels; 2 and 4 make the first convolution a strided one of 5x5 and 7x7,
            and the net several times cheaper. Padding "same" only.
        weights: a local .pth or .safetensors file with this backbone's names, those of the authors' prototxt, or of
            milesial's Pytorch-UNet.

    Raises:
        ConfigError: a first stride with padding "valid".
        CheckpointError: weights that cannot be read or do not fit.
    """

    def __init__(
        self,
        in_channels: PositiveInt = 1,
        width: PositiveInt = 64,
        depth: Annotated[int, Interval(ge=1, le=8)] = 5,
        padding: Padding = "valid",
        norm: Norm = "none",
        dropout: Probability = 0.5,
        first_stride: Literal[1, 2, 4] = 1,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if first_stride > 1 and padding == "valid":
            message = f"first_stride {first_stride} needs padding: same"
            raise ConfigError(
                Problem("backbone 'unet_encoder'", message, "the borders of the 2015 net are those of stride 1")
            )
        channels = tuple(width * 2**level for level in range(depth))
        borders, sizes = _valid_geometry(depth) if padding == "valid" else ((0,) * depth, ANY_SIZE)
        self.spec = PyramidSpec(
            channels, tuple(first_stride * 2**level for level in range(depth)), borders=borders, sizes=sizes
        )
        self.pixel_stats = PixelStats((0.0,) * in_channels, (1.0,) * in_channels)
        self.levels = nn.ModuleList(
            nn.Sequential(
                _first_conv(before, after, padding, norm, 1 if level else first_stride),
                ConvNormAct(after, after, padding=padding, norm=norm),
                nn.Dropout(dropout if level >= depth - 2 else 0.0),
            )
            for level, (before, after) in enumerate(pairwise((in_channels, *channels)))
        )
        # Without ceil_mode an odd map would lose its last row and column; legal "valid" sizes are never odd here.
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        he_normal_(self)
        if weights is not None:
            self.origin = fill_from(self, weights, "unet_encoder")

    def forward(self, images: Tensor) -> FeaturePyramid:
        """(N, in_channels, H, W) -> one map a level, each before it is pooled, finest first."""
        x, maps = images, []
        for index, level in enumerate(self.levels):
            x = _of_level(cast(nn.Sequential, level), self.pool(x) if index else x)
            maps.append(x)
        return FeaturePyramid(tuple(maps), self.spec, (images.shape[-2], images.shape[-1]))


def _of_level(level: nn.Sequential, x: Tensor) -> Tensor:
    """A level's map: two convolutions, in bands of rows where that is asked for, and dropout."""
    convs, dropout = level[:2], level[2]
    channels = in_blocks(cast(ConvNormAct, level[0]).conv.out_channels)
    step = band_of_rows(convs, x.shape[-2], x.shape[0] * channels * x.shape[-1] * x.element_size())
    if step is None:
        return level(x)
    return dropout(in_bands(convs, lambda first, last: x[..., first:last, :], x.shape[-2], step))
