"""ResNet: torchvision's modules, so that its published weights load exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Interval
from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.contracts import BACKBONES, IMAGENET_STATS, Backbone, FeaturePyramid, PyramidSpec
from toolkit.errors import ConfigError, Problem
from toolkit.layers.frozen_norm import fold_frozen_norms
from toolkit.layers.stats import stats_for_channels
from toolkit.weights.fit import fill_from

_WIDTH = 64
"""Channels of the stem in the paper, table 1, and in torchvision's weights."""


@BACKBONES.register("resnet")
class ResNet(Backbone):
    """ResNet (He et al. 2015) in torchvision's "v1.5" form: the bottlenecks' stride sits in the 3x3 convolution.

    Maps at strides 2 (after the stem's ReLU: 64 channels), 4, 8, 16 and 32; 64 to 512 channels for depths 18 and 34,
    256 to 2048 for the others. Sizes are ceil(n / stride).

    Args:
        depth: number of layers with weights, in torchvision's five sizes.
        weights: None (random), torchvision's name ("IMAGENET1K_V1", "IMAGENET1K_V2", "DEFAULT"; downloaded once), or a
            local .pth or .safetensors file with the names of torchvision, timm, smp or Caffe.
        in_channels: channels of the images. Published weights of 3 are summed for 1, and repeated in turn for more
            (`weights/channels.py`).
        frozen_stages: stages that are not trained, counted from the image: 0 trains all; 1 freezes the stem, 2 also the
            stage of stride 4, ... 5 everything. Frozen stages keep their batch statistics as well, whatever `train()` says.
        norm: "batch" learns statistics from the batches; "frozen_batch" never updates any batch statistics nor their
            scale and shift, for batches of a few images.
        output_stride: coarsest stride that is kept: 16 or 8 replaces the strides of the last one or two stages by
            dilation (depth 50 and up).
        width: channels of the stem, of which all others are multiples; 64 in the paper and in published
            weights, 32 is a quarter of the work.

    Raises:
        ConfigError: dilation of a net that has no bottlenecks.
        CheckpointError: weights that cannot be had or do not fit.
    """

    def __init__(
        self,
        depth: Literal[18, 34, 50, 101, 152] = 50,
        weights: str | None = None,
        in_channels: PositiveInt = 3,
        frozen_stages: Annotated[int, Interval(ge=0, le=5)] = 0,
        norm: Literal["batch", "frozen_batch"] = "batch",
        output_stride: Literal[8, 16, 32] = 32,
        width: PositiveInt = 64,
    ) -> None:
        super().__init__()
        from torchvision.models import get_model
        from torchvision.ops import FrozenBatchNorm2d

        if output_stride < 32 and depth < 50:
            message = f"resnet of depth {depth} cannot be dilated: output_stride {output_stride} needs depth 50 or more"
            raise ConfigError(Problem("output_stride", message))
        net = get_model(
            f"resnet{depth}",
            weights=None,
            norm_layer=FrozenBatchNorm2d if norm == "frozen_batch" else nn.BatchNorm2d,
            replace_stride_with_dilation=[False, output_stride < 16, output_stride < 32],
        )
        if width != _WIDTH:
            _scale_width(net, width)
        if in_channels != 3:
            net.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
            self.pixel_stats = stats_for_channels(IMAGENET_STATS, in_channels)
        # torchvision's names at the top level, so that its state dicts fit this module as they are.
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        widths = tuple(width * factor for factor in ((1, 1, 2, 4, 8) if depth < 50 else (1, 4, 8, 16, 32)))
        self.spec = PyramidSpec(widths, tuple(min(stride, output_stride) for stride in (2, 4, 8, 16, 32)))
        if weights is not None:
            self.origin = fill_from(self, weights, "resnet", f"resnet{depth}")
        if norm == "frozen_batch":
            fold_frozen_norms(_with_their_norms(self))
        self._frozen_stages = frozen_stages
        for module in self._frozen():
            module.requires_grad_(False)

    def _frozen(self) -> list[nn.Module]:
        stages = [[self.conv1, self.bn1], [self.layer1], [self.layer2], [self.layer3], [self.layer4]]
        return [module for stage in stages[: self._frozen_stages] for module in stage]

    def train(self, mode: bool = True) -> ResNet:
        """As for any module, but frozen stages stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        return self

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Maps at strides 2, 4, 8, 16, 32."""
        maps = [self.relu(self.bn1(self.conv1(images)))]
        x = self.maxpool(maps[0])
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return FeaturePyramid(tuple(maps), self.spec, (images.shape[-2], images.shape[-1]))


def _scale_width(net: nn.Module, width: int) -> None:
    """Every convolution and norm with `width` / 64 of its channels, drawn anew as torchvision does."""
    for name, module in list(net.named_modules()):
        parent, _, child = name.rpartition(".")
        if isinstance(module, nn.Conv2d):
            incoming = module.in_channels if name == "conv1" else module.in_channels * width // _WIDTH
            module = nn.Conv2d(
                incoming, module.out_channels * width // _WIDTH, module.kernel_size,  # type: ignore[arg-type]
                module.stride, module.padding, module.dilation, bias=False,  # type: ignore[arg-type]
            )  # fmt: skip
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif name.rpartition(".")[2].startswith("bn") or name.endswith("downsample.1"):
            module = type(module)(len(module.weight) * width // _WIDTH)  # type: ignore[operator,call-arg]
        else:
            continue
        setattr(net.get_submodule(parent), child, module)


def _with_their_norms(net: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.Module]]:
    """Each convolution and its norm: conv1 and bn1 of one block, and those of a shortcut, the next in a row."""
    for module in net.modules():
        named = dict(module.named_children())
        for name, convolution in named.items():
            norm = named.get(str(int(name) + 1) if name.isdigit() else name.replace("conv", "bn"))
            if isinstance(convolution, nn.Conv2d) and norm is not None:
                yield convolution, norm
