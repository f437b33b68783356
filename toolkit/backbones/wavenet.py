"""A stack of dilated causal convolutions with gated units, residual and skip connections (WaveNet)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.contracts import BACKBONES, Backbone, FeaturePyramid, PixelStats, PyramidSpec
from toolkit.layers.causal import CausalConv1d
from toolkit.weights.fit import fill_from


@BACKBONES.register("wavenet")
class WaveNet(Backbone):
    """Every row of a picture is a sequence, read from left to right; no step's features depend on a later one.

    Van den Oord et al. 2016, "WaveNet: a generative model for raw audio" (arXiv 1609.03499), figures 3 and 4: a causal
    convolution, then for each dilation a gated unit tanh(W_f * x) sigmoid(W_g * x) (equation 2), whose 1x1 projections
    are added to the sequence and to the sum of all skips; ReLU, 1x1, ReLU. The last 1x1 of figure 4 is the `pixel` head's.
    A step sees sum(dilations) + 2 steps with the default kernel, itself included. One map, at stride 1.

    Args:
        in_channels: numbers that a step of the sequence has: the channels of the picture, 1 for gray.
        width: channels of the sequence that runs through the stack (the paper's residual channels).
        skip_width: channels of the sum of all skips, which is what the head reads.
        kernel_size: steps that each convolution weighs, the present one included; 2 in the paper.
        dilations: steps from one weighted step to the other, one unit each; null is the paper's 1, 2, 4 ... 512.
        weights: a local .pth or .safetensors file with this backbone's names, behind any beginning; None is random.

    Raises:
        CheckpointError: weights that cannot be read or do not fit.
    """

    def __init__(
        self,
        in_channels: PositiveInt = 1,
        width: PositiveInt = 32,
        skip_width: PositiveInt = 64,
        kernel_size: PositiveInt = 2,
        dilations: list[PositiveInt] | None = None,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.spec = PyramidSpec((skip_width,), (1,))
        self.pixel_stats = PixelStats((0.5,) * in_channels, (0.5,) * in_channels)
        self.first = CausalConv1d(in_channels, width, kernel_size)
        steps = [2**power for power in range(10)] if dilations is None else dilations
        self.units = nn.ModuleList(GatedUnit(width, skip_width, kernel_size, step) for step in steps)
        self.last = nn.Conv2d(skip_width, skip_width, 1)
        if weights is not None:
            self.origin = fill_from(self, weights, "wavenet")

    def forward(self, images: Tensor) -> FeaturePyramid:
        """(N, in_channels, H, T) -> a map (N, skip_width, H, T): H sequences of T steps an image."""
        x = self.first(images)
        skips = []
        for unit in self.units:
            x, skip = unit(x)
            skips.append(skip)
        features = self.last(torch.stack(skips).sum(0).relu()).relu()
        return FeaturePyramid((features,), self.spec, (images.shape[-2], images.shape[-1]))


class GatedUnit(nn.Module):
    """(N, width, H, T) -> the sequence with the unit's answer added, and what it gives to the skips.

    Args:
        width: channels of the sequence that enters and leaves.
        skip_width: channels of what it adds to the skips.
        kernel_size: steps that are weighted, the present one included.
        dilation: steps from one weighted step to the next.
    """

    def __init__(
        self, width: PositiveInt, skip_width: PositiveInt, kernel_size: PositiveInt, dilation: PositiveInt
    ) -> None:
        super().__init__()
        self.filter_and_gate = CausalConv1d(width, 2 * width, kernel_size, dilation)
        self.residual = nn.Conv2d(width, width, 1)
        self.skip = nn.Conv2d(width, skip_width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The sequence for the next unit, (N, width, H, T), and the skip, (N, skip_width, H, T)."""
        filtered, gate = self.filter_and_gate(x).chunk(2, 1)
        answer = filtered.tanh() * gate.sigmoid()
        return x + self.residual(answer), self.skip(answer)
