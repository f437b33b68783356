"""The feature pyramid network of Lin et al. 2017 (arXiv 1612.03144)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.contracts import NECKS, FeaturePyramid, Neck, PyramidSpec
from toolkit.errors import PartsError, Problem


@NECKS.register("fpn")
class FPN(Neck):
    """Lateral 1x1 convolutions, a top-down path of additions, a 3x3 convolution on every sum (section 3).

    The coarser map is repeated (nearest) to the size of the finer one, whatever that is, so odd sizes work; this is
    what torchvision does, and given the same weights the results are bit-equal. 3,344,384 parameters on ResNet-50.
    Convolutions start from a uniform Kaiming draw with a = 1 and zero biases, as in torchvision and detectron2.

    Args:
        spec: what the backbone produces, with all the strides that are taken.
        strides: strides of the maps taken in; None is 4, 8, 16, 32.
        channels: width of every map out (256 in the paper).
        extra: coarser maps on top. `max_pool`: the coarsest map at every second cell (P6 of Faster R-CNN, footnote 2 of
            the paper); `p6p7`: two 3x3 convolutions of stride 2 on the coarsest *input* map, the second after a ReLU
            (RetinaNet, arXiv 1708.02002, section 4); `none`.

    Raises:
        PartsError: a stride is missing or the strides do not increase.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        strides: list[PositiveInt] | None = None,
        channels: PositiveInt = 256,
        extra: Literal["none", "max_pool", "p6p7"] = "max_pool",
    ):
        super().__init__()
        strides = [4, 8, 16, 32] if strides is None else strides
        if not strides or strides != sorted(set(strides)):
            raise PartsError(Problem("neck 'fpn'", f"strides must increase and not repeat, but are {strides}"))
        self.indices = tuple(spec.index_of(stride, "neck 'fpn'") for stride in strides)
        self.extra = extra
        widths = [spec.channels[i] for i in self.indices]
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.outputs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in widths)
        if extra == "p6p7":
            self.p6 = nn.Conv2d(widths[-1], channels, 3, stride=2, padding=1)
            self.p7 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        added = {"none": 0, "max_pool": 1, "p6p7": 2}[extra]
        out = [*strides, *(strides[-1] * 2**step for step in range(1, added + 1))]
        borders = [spec.borders[i] for i in self.indices]
        borders += borders[-1:] * added
        self.spec = PyramidSpec((channels,) * len(out), tuple(out), borders=tuple(borders), sizes=spec.sizes)

    def forward(self, pyramid: FeaturePyramid) -> FeaturePyramid:
        """Maps (N, C_i, H_i, W_i) in, maps (N, channels, H_i, W_i) out, then the extra ones, each half as large."""
        taken = [pyramid.maps[i] for i in self.indices]
        sums: list[Tensor] = []
        for lateral, features in zip(reversed(self.laterals), reversed(taken), strict=True):
            finer = lateral(features)
            if sums:
                finer = finer + F.interpolate(sums[0], size=finer.shape[-2:], mode="nearest")
            sums.insert(0, finer)
        maps = [output(features) for output, features in zip(self.outputs, sums, strict=True)]
        if self.extra == "max_pool":
            maps.append(maps[-1][..., ::2, ::2])
        elif self.extra == "p6p7":
            maps.append(self.p6(taken[-1]))
            maps.append(self.p7(F.relu(maps[-1])))
        return FeaturePyramid(tuple(maps), self.spec, pyramid.image_size)
