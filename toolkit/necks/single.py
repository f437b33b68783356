"""The neck that picks one map."""

from __future__ import annotations

from torch import nn

from toolkit.bounds import PositiveInt
from toolkit.contracts import NECKS, FeaturePyramid, Neck, PyramidSpec


@NECKS.register("single")
class Single(Neck):
    """The deepest map of one stride, as it is or through a 1x1 convolution.

    Faster R-CNN of 2015 reads conv5_3 of VGG16 alone: `stride: 16`.

    Args:
        spec: what the backbone or neck produces.
        stride: stride of the map in pixels; null takes the last one.
        channels: width after a 1x1 convolution with bias; None leaves the map untouched.

    Raises:
        PartsError: no map has that stride.
    """

    def __init__(self, spec: PyramidSpec, stride: PositiveInt | None = None, channels: PositiveInt | None = None):
        super().__init__()
        self.index = len(spec) - 1 if stride is None else spec.index_of(stride, "neck 'single'")
        width = spec.channels[self.index]
        self.project = nn.Identity() if channels is None else nn.Conv2d(width, channels, 1)
        self.spec = PyramidSpec(
            (channels or width,), (spec.strides[self.index],), borders=(spec.borders[self.index],), sizes=spec.sizes
        )

    def forward(self, pyramid: FeaturePyramid) -> FeaturePyramid:
        """Maps of any widths in, one map (N, channels, H, W) out."""
        return FeaturePyramid((self.project(pyramid.maps[self.index]),), self.spec, pyramid.image_size)
