"""The time-delay neural network."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.contracts import BACKBONES, Backbone, FeaturePyramid, PixelStats, PyramidSpec
from toolkit.errors import ConfigError, Problem
from toolkit.layers.causal import CausalConv1d
from toolkit.weights.fit import fill_from


@BACKBONES.register("time_delay")
class TimeDelay(Backbone):
    """Units that see the present frame and a few earlier ones, with the same weights at every time.

    Waibel, Hanazawa, Hinton, Shikano and Lang 1989, "Phoneme recognition using time-delay neural networks", section II:
    a frame is 16 coefficients; 8 units see 3 frames of them, 3 units see 5 frames of those 8: 392 + 123 weights and
    biases, 7 frames in all. The answer is the evidence of the last units summed over time, which the `image` head's
    average is; the `pixel` head answers at every frame. Frames before the first are zeros, where the paper only looks at
    whole windows. Every row of a picture is a sequence of frames, its channels their coefficients. One map a layer, all
    at stride 1.

    Args:
        in_channels: coefficients of a frame: the channels of the picture.
        widths: units of each layer, first to last.
        windows: frames that a unit of each layer sees: the present one and window - 1 delays.
        activation: function of the units; `sigmoid` as in the paper.
        weights: a local .pth or .safetensors file with this backbone's names, behind any beginning; None is random.

    Raises:
        ConfigError: not as many windows as widths, or none.
        CheckpointError: weights that cannot be read or do not fit.
    """

    def __init__(
        self,
        in_channels: PositiveInt = 16,
        widths: list[PositiveInt] | None = None,
        windows: list[PositiveInt] | None = None,
        activation: Literal["sigmoid", "tanh", "relu"] = "sigmoid",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        channels = [8, 3] if widths is None else widths
        frames = [3, 5] if windows is None else windows
        if not channels or len(channels) != len(frames):
            message = f"{len(channels)} widths and {len(frames)} windows: every layer has one of each"
            raise ConfigError(Problem("backbone 'time_delay'", message, "give two lists of the same length"))
        self.spec = PyramidSpec(tuple(channels), (1,) * len(channels))
        self.pixel_stats = PixelStats((0.5,) * in_channels, (0.5,) * in_channels)
        pairs = zip(pairwise([in_channels, *channels]), frames, strict=True)
        self.layers = nn.ModuleList(CausalConv1d(before, after, window) for (before, after), window in pairs)
        self.activation: nn.Module = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}[activation]()
        if weights is not None:
            self.origin = fill_from(self, weights, "time_delay")

    def forward(self, images: Tensor) -> FeaturePyramid:
        """(N, in_channels, H, T) -> a map (N, width, H, T) a layer."""
        maps = [images]
        for layer in self.layers:
            maps.append(self.activation(layer(maps[-1])))
        return FeaturePyramid(tuple(maps[1:]), self.spec, (images.shape[-2], images.shape[-1]))
