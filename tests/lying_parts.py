"""Backbones and a neck that promise one thing and do another; named `lying_parts:CLASS` in the tests' configs."""

from __future__ import annotations

from torch import Tensor, nn

from toolkit.contracts import Backbone, FeaturePyramid, Neck, PyramidSpec


class WrongChannels(Backbone):
    """Promises 8 channels at stride 2, gives 6."""

    def __init__(self, promised: int = 8, given: int = 6, promised_stride: int = 2, stride: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, given, 3, stride=stride, padding=1)
        self.spec = PyramidSpec((promised,), (promised_stride,))

    def forward(self, images: Tensor) -> FeaturePyramid:
        return FeaturePyramid((self.conv(images),), self.spec, (images.shape[-2], images.shape[-1]))


class Stumbles(Neck):
    """Reads 5 channels whatever it is given."""

    def __init__(self, spec: PyramidSpec) -> None:
        super().__init__()
        self.conv = nn.Conv2d(5, 8, 1)
        self.spec = PyramidSpec((8,), (spec.strides[0],))

    def forward(self, pyramid: FeaturePyramid) -> FeaturePyramid:
        return FeaturePyramid((self.conv(pyramid.maps[0]),), self.spec, pyramid.image_size)


class NoPyramid(Backbone):
    """Returns a bare tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.spec = PyramidSpec((8,), (1,))

    def forward(self, images: Tensor) -> FeaturePyramid:
        return self.conv(images)  # type: ignore[no-any-return]
