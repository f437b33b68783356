"""GoogLeNet (Szegedy et al. 2015, "Going deeper with convolutions", arXiv 1409.4842)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.contracts import BACKBONES, Backbone, FeaturePyramid, PixelStats, PyramidSpec, SizeRule
from toolkit.errors import ConfigError, Problem
from toolkit.layers.pooling import PoolingKind, pooling_layer
from toolkit.weights.fit import fill_from
from toolkit.weights.read import is_file

INCEPTIONS = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}
"""Table 1 of the paper: input, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection."""


@BACKBONES.register("googlenet")
class GoogLeNet(Backbone):
    """A stem and nine inception modules.

    Maps: after conv1, conv3, 3b, 4e, 5b: 64, 192, 480, 832, 1024 at strides 2, 4, 8, 16, 32; with `auxiliary` also
    4a and 4d (512 and 528) before 4e, all three at stride 16, for the `image` head's auxiliary classifiers. With that
    head (dropout 0.2) and 1000 classes: 6,624,904 parameters, 13,004,888 with its two auxiliary classifiers.

    Pixels are scaled to -1..1: torchvision's published weights come from TensorFlow and expect that.

    Args:
        true_5x5: whether the branch called 5x5 in the paper has 5x5 kernels; torchvision's has 3x3.
        batch_norm: torchvision's form, normalised (eps 1e-3) and without biases; false is the paper's, with biases,
            local response normalisation in the stem (size 5, alpha 1e-4, beta 0.75) and, when `true_5x5` too,
            6,998,552 parameters with the head.
        auxiliary: whether the pyramid has the maps 4a and 4d too, for auxiliary classifiers.
        in_channels: channels of the images; published weights of 3 are repeated in turn for more (`weights/channels.py`).
        pooling: kind of the four poolings between the stages.
        weights: torchvision's name (`IMAGENET1K_V1`) for the default form, or a file with its names, or with Caffe's for
            the paper's form.

    Raises:
        ConfigError: torchvision's weights for a form that it has not.
    """

    def __init__(
        self,
        true_5x5: bool = False,
        batch_norm: bool = True,
        auxiliary: bool = False,
        in_channels: PositiveInt = 3,
        pooling: PoolingKind = "max",
        weights: str | None = None,
    ):
        super().__init__()
        self.auxiliary = auxiliary
        self.conv1 = Conv(in_channels, 64, 7, batch_norm, stride=2)
        self.maxpool1 = pooling_layer(pooling, 3, 2, ceil_mode=True)
        self.conv2 = Conv(64, 64, 1, batch_norm)
        self.conv3 = Conv(64, 192, 3, batch_norm)
        self.maxpool2 = pooling_layer(pooling, 3, 2, ceil_mode=True)
        self.maxpool3 = pooling_layer(pooling, 3, 2, ceil_mode=True)
        self.maxpool4 = pooling_layer(pooling, 2, 2, ceil_mode=True)
        self.normalise = nn.Identity() if batch_norm else nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        for name, widths in INCEPTIONS.items():
            setattr(self, f"inception{name}", Inception(widths, 5 if true_5x5 else 3, batch_norm))
        sixteen = (512, 528, 832) if auxiliary else (832,)
        strides = (2, 4, 8, *(16,) * len(sixteen), 32)
        self.pixel_stats = PixelStats((0.5,) * in_channels, (0.5,) * in_channels)
        self.spec = PyramidSpec((64, 192, 480, *sixteen, 1024), strides, sizes=SizeRule(15))
        self._initialise(batch_norm)
        if weights is not None:
            if (true_5x5 or not batch_norm) and not is_file(weights):
                message = "the published weights are of the form with batch norm and 3x3 kernels"
                raise ConfigError(Problem("backbone 'googlenet'", message, "true_5x5: false, batch_norm: true"))
            self.origin = fill_from(self, weights, "googlenet", "googlenet")

    def _initialise(self, batch_norm: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                if batch_norm:  # torchvision's; without normalisation this small a draw would starve nine modules
                    nn.init.trunc_normal_(module.weight, 0.0, 0.01, -2.0, 2.0)
                else:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                    nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Images (N, 3, H, W), normalised."""
        first = self.conv1(images)
        second = self.conv3(self.conv2(self.normalise(self.maxpool1(first))))
        x = self.maxpool2(self.normalise(second))
        maps = [first, second]
        for name in INCEPTIONS:
            x = getattr(self, f"inception{name}")(x)
            if name in ("3b", "4e", "5b") or (self.auxiliary and name in ("4a", "4d")):
                maps.append(x)
            if name == "3b":
                x = self.maxpool3(x)
            elif name == "4e":
                x = self.maxpool4(x)
        return FeaturePyramid(tuple(maps), self.spec, (images.shape[-2], images.shape[-1]))


class Conv(nn.Module):
    """Convolution padded to keep the size, batch norm with eps 1e-3 (or a bias instead), ReLU; torchvision's names.

    Args:
        in_channels: channels of the map that enters.
        out_channels: channels of the map that leaves.
        kernel_size: side of the kernel in cells, odd; the padding is half of it.
        batch_norm: whether batch norm follows; without it the convolution has a bias.
        stride: cells of the input from one cell of the output to the next.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, batch_norm: bool, stride: int = 1):
        super().__init__()
        pad = kernel_size // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, pad, bias=not batch_norm)
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-3) if batch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        return torch.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Four branches side by side, concatenated (figure 2b of the paper).

    Args:
        widths: seven numbers of channels, a row of `INCEPTIONS`.
        large_kernel: side of the larger kernel: 5 in the paper, 3 in torchvision's net.
        batch_norm: whether every convolution is normalised and has no bias.
    """

    def __init__(self, widths: tuple[int, ...], large_kernel: int, batch_norm: bool):
        super().__init__()
        entering, one, reduce3, three, reduce5, five, pooled = widths
        self.branch1 = Conv(entering, one, 1, batch_norm)
        self.branch2 = nn.Sequential(Conv(entering, reduce3, 1, batch_norm), Conv(reduce3, three, 3, batch_norm))
        self.branch3 = nn.Sequential(
            Conv(entering, reduce5, 1, batch_norm), Conv(reduce5, five, large_kernel, batch_norm)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), Conv(entering, pooled, 1, batch_norm))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W)."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)
