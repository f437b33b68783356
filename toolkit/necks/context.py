"""The context module of Yu & Koltun 2016, "Multi-scale context aggregation by dilated convolutions" (1511.07122)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.contracts import NECKS, FeaturePyramid, Neck, PyramidSpec
from toolkit.errors import PartsError, Problem
from toolkit.layers.identity import identity_

DILATIONS = {
    7: (1, 1, 2, 4, 8, 1),
    8: (1, 1, 2, 4, 8, 16, 1),
    10: (1, 1, 2, 4, 8, 16, 32, 64, 1),
}
"""Dilations of the 3x3 convolutions; the module's last layer is a 1x1. 8: Table 1 of the paper (VOC, CamVid);
7 and 10: the authors' released nets for KITTI and Cityscapes."""

LARGE = (2, 2, 4, 8, 16, 32, 32)
"""Widths of the large module in multiples of the class count, Table 1."""

RELEASED_NOISE = 0.01
"""Deviation of the released `identity` filler (github.com/fyu/dilation, network.py)."""


@NECKS.register("context")
class Context(Neck):
    """Dilated 3x3 convolutions, each with ReLU, that look at ever larger surroundings at one stride.

    With `closing: true` the module is the paper's, ending in its 1x1 convolution: 6,803,139 parameters for the large
    one with 21 classes, 7,832 for the basic one with 11 (8 layers), 6,732 (7 layers), 29,792 with 19 (10 layers).
    Without it, the `pixel` head's 1x1 convolution is that layer.

    Args:
        spec: what the backbone produces, and its strides.
        channels: the width C of its input, in the paper the number of classes.
        stride: stride of the map it reads; None takes the last one.
        project: whether a 1x1 convolution brings the map to C channels first (the front end's `final`, drawn from N(0,
            0.001) as released); false needs a map of C channels.
        layers: 7, 8 or 10, counting the closing 1x1 convolution.
        width: `basic`, C channels throughout, or `large`, 2C 2C 4C 8C 16C 32C 32C (8 layers only).
        padding: `layer` pads each convolution by its dilation (released for CamVid, KITTI, Cityscapes); `input` pads
            once, by the sum of the dilations, 33 for 8 layers (released for VOC). They differ near the borders.
        init: `identity`, free of noise; `released`, identity plus N(0, 0.01) on all other taps; `default`, PyTorch's.
        closing: whether the 1x1 convolution back to C is part of the neck.

    Raises:
        PartsError: a map of that stride is missing, or has not C channels where it must.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        channels: PositiveInt,
        stride: PositiveInt | None = None,
        project: bool = True,
        layers: Literal[7, 8, 10] = 8,
        width: Literal["basic", "large"] = "basic",
        padding: Literal["layer", "input"] = "layer",
        init: Literal["identity", "released", "default"] = "identity",
        closing: bool = False,
    ):
        super().__init__()
        self.index = len(spec) - 1 if stride is None else spec.index_of(stride, "neck 'context'")
        entering = spec.channels[self.index]
        _check(entering, channels, project, layers, width)
        self.project = nn.Conv2d(entering, channels, 1) if project else nn.Identity()
        dilations = DILATIONS[layers]
        widths = [channels, *(channels * m for m in (LARGE if width == "large" else (1,) * len(dilations)))]
        per_layer = padding == "layer"
        self.padding = 0 if per_layer else sum(dilations)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 3, padding=dilation if per_layer else 0, dilation=dilation)
            for i, dilation in enumerate(dilations)
        )
        self.closing = nn.Conv2d(widths[-1], channels, 1) if closing else nn.Identity()
        self._initialise(channels, init)
        self.spec = PyramidSpec(
            (channels if closing else widths[-1],),
            (spec.strides[self.index],),
            borders=(spec.borders[self.index],),
            sizes=spec.sizes,
        )

    def _initialise(self, groups: int, init: str) -> None:
        if isinstance(self.project, nn.Conv2d):
            nn.init.normal_(self.project.weight, 0.0, 0.001)
            nn.init.zeros_(self.project.bias)  # type: ignore[arg-type]
        if init == "default":
            return
        for layer in (*self.convolutions, self.closing):
            if isinstance(layer, nn.Conv2d):
                identity_(layer.weight, groups, RELEASED_NOISE if init == "released" else 0.0)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, pyramid: FeaturePyramid) -> FeaturePyramid:
        """One map (N, C_in, H, W) of the pyramid in, one map (N, C_out, H, W) of the same size out."""
        features: Tensor = self.project(pyramid.maps[self.index])
        if self.padding:
            features = F.pad(features, (self.padding,) * 4)
        for convolution in self.convolutions:
            features = F.relu(convolution(features))
        return FeaturePyramid((self.closing(features),), self.spec, pyramid.image_size)

    def check_classes(self, names: Sequence[str]) -> list[Problem]:
        """Notes a width that is not the number of classes, which the published nets' is."""
        width = self.convolutions[0].in_channels
        if width == len(names):
            return []
        message = f"is {width}, but there are {len(names)} classes; the published nets have one channel a class"
        return [Problem("channels", message, f"set it to {len(names)}")]


def _check(entering: int, channels: int, project: bool, layers: int, width: str) -> None:
    if width == "large" and layers != 8:
        raise PartsError(
            Problem("neck 'context'", f"the large module has 8 layers, not {layers}", "set layers: 8 or width: basic")
        )
    if not project and entering != channels:
        raise PartsError(
            Problem(
                "neck 'context'",
                f"its input has {entering} channels, but channels is {channels}",
                f"set project: true, or channels: {entering}",
            )
        )
