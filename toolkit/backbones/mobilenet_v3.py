"""MobileNetV3: torchvision's modules, so that its published weights load exactly."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn

from toolkit.bounds import NonNegativeFloat, PositiveInt
from toolkit.contracts import BACKBONES, IMAGENET_STATS, Backbone, FeaturePyramid, PyramidSpec
from toolkit.layers.stats import stats_for_channels
from toolkit.weights.fit import fill_from

_MAPS = {"large": ((1, 3, 6, 12, 13, 16), (16, 24, 40, 112, 160, 960)),
         "small": ((0, 1, 3, 8, 9, 12), (16, 16, 24, 48, 96, 576))}  # fmt: skip
"""Positions in `features` (torchvision/models/mobilenetv3.py, `_mobilenet_v3_conf`) and their channels: the last of each
stride, and of stride 32 the first block and the last convolution, the two that torchvision's detectors take."""


@BACKBONES.register("mobilenet_v3")
class MobileNetV3(Backbone):
    """MobileNetV3 (Howard et al. 2019, arXiv 1905.02244, tables 1 and 2), without its classifier.

    Maps at strides 2, 4, 8, 16, 32 and 32: 16, 24, 40, 112, 160 and 960 channels (large), 16, 16, 24, 48, 96 and 576
    (small); 2,971,952 and 927,008 parameters. Sizes are ceil(n / stride).

    Args:
        variant: size of the net, of the paper's two.
        weights: None (random), torchvision's name ("IMAGENET1K_V1", "DEFAULT"; downloaded once), or a local .pth or
            .safetensors file with the names of torchvision, or of timm in their order.
        in_channels: channels of the images. Published weights of 3 are summed for 1, and repeated in turn for more.
        norm: "batch" learns statistics from the batches; "frozen_batch" never updates them nor their scale and shift.
        bn_eps: number added to the variances of batch normalisation; null is 0.001 for "batch" and 1e-5 for
            "frozen_batch", as in torchvision's classifiers and detectors.

    Raises:
        CheckpointError: weights that cannot be had or do not fit.
    """

    def __init__(
        self,
        variant: Literal["large", "small"] = "large",
        weights: str | None = None,
        in_channels: PositiveInt = 3,
        norm: Literal["batch", "frozen_batch"] = "batch",
        bn_eps: NonNegativeFloat | None = None,
    ) -> None:
        super().__init__()
        from torchvision.models import get_model
        from torchvision.ops import FrozenBatchNorm2d

        frozen = norm == "frozen_batch"
        eps = bn_eps if bn_eps is not None else 1e-5 if frozen else 1e-3
        layer = partial(FrozenBatchNorm2d, eps=eps) if frozen else partial(nn.BatchNorm2d, eps=eps, momentum=0.01)
        self.features = get_model(f"mobilenet_v3_{variant}", weights=None, norm_layer=layer).features
        if in_channels != 3:
            first = self.features[0][0]
            self.features[0][0] = nn.Conv2d(in_channels, first.out_channels, 3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(self.features[0][0].weight, mode="fan_out")  # as torchvision does
        self.kept, channels = _MAPS[variant]
        self.spec = PyramidSpec(channels, (2, 4, 8, 16, 32, 32))
        self.pixel_stats = stats_for_channels(IMAGENET_STATS, in_channels)
        if weights is not None:
            self.origin = fill_from(self, weights, "mobilenet_v3", f"mobilenet_v3_{variant}")

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Maps at strides 2, 4, 8, 16, 32, 32."""
        maps, x = [], images
        for position, block in enumerate(self.features):
            x = block(x)
            if position in self.kept:
                maps.append(x)
        return FeaturePyramid(tuple(maps), self.spec, (images.shape[-2], images.shape[-1]))
