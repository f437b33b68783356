"""The feature pyramid network of Lin et al. 2017 (arXiv 1612.03144)."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import torch
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
        strides: strides of the maps taken in, finest first; None is 4, 8, 16, 32. One named twice takes the last two maps
            of it: torchvision's detectors on MobileNetV3 take [32, 32].
        channels: width of every map out (256 in the paper).
        extra: coarser maps on top. `max_pool`: the coarsest map at every second cell (P6 of Faster R-CNN, footnote 2 of
            the paper); `p6p7`: two 3x3 convolutions of stride 2 on the coarsest *input* map, the second after a ReLU
            (RetinaNet, arXiv 1708.02002, section 4); `none`.

    Raises:
        PartsError: a stride is missing, or there are fewer maps of it than it is named; strides that decrease.
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
        if not strides or strides != sorted(strides):
            raise PartsError(Problem("neck 'fpn'", f"strides must increase, but are {strides}"))
        self.indices = _positions(spec, strides)
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
            # The same cells, but never a view with gaps, whose memory order a program would hold against other sizes.
            dense = torch.compiler.is_exporting()
            maps.append(F.max_pool2d(maps[-1], 1, 2) if dense else maps[-1][..., ::2, ::2])
        elif self.extra == "p6p7":
            maps.append(self.p6(taken[-1]))
            maps.append(self.p7(F.relu(maps[-1])))
        return FeaturePyramid(tuple(maps), self.spec, pyramid.image_size)


def _positions(spec: PyramidSpec, strides: list[int]) -> tuple[int, ...]:
    """Positions of the maps that are taken: the last one of each stride, the last n of one that is named n times."""
    positions: list[int] = []
    for stride, times in Counter(strides).items():
        last = spec.index_of(stride, "neck 'fpn'")
        first = last - times + 1
        if first < 0 or spec.strides[first] != stride:
            message = f"strides names {stride} {times} times, but its input has {spec.describe()}"
            raise PartsError(
                Problem("neck 'fpn'", message, "name each stride as often as there are maps of it at most")
            )
        positions += range(first, last + 1)
    return tuple(positions)
