"""VGG, with what segmentation needs of it: pooling indices, dilation, unpadded convolutions, dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from toolkit.bounds import PositiveFloat, PositiveInt, Probability
from toolkit.contracts import (
    BACKBONES,
    IMAGENET_STATS,
    Backbone,
    FeaturePyramid,
    PixelStats,
    PoolIndices,
    PyramidSpec,
    SizeRule,
)
from toolkit.errors import ConfigError, Problem
from toolkit.layers.batch_norm import set_batch_norm
from toolkit.layers.conv import ConvNormAct
from toolkit.layers.init import he_normal_
from toolkit.layers.pooling import PoolingKind, pooling_layer
from toolkit.layers.stats import stats_for_channels
from toolkit.ops.pooling import Storage, max_pool
from toolkit.weights.fit import fill_from

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""3x3 convolutions a stage: columns A, B, D, E of Simonyan and Zisserman 2014 (arXiv 1409.1556), table 1."""

WIDTHS = (64, 128, 256, 512, 512)
FC_WIDTH = 4096
FULL_WIDTH = 64
FC_DROPOUT = 0.5  # after fc6 and fc7: dilation's network.py


@BACKBONES.register("vgg")
class Vgg(Backbone):
    """Five stages of 3x3 convolutions with ReLU, 2x2 pooling after each. 14,714,688 parameters at depth 16 without BN.

    Maps: before each pooling, at strides 1, 2, 4, 8, 16 (64, 128, 256, 512, 512 channels), and the pooled last one at
    stride 32. A dropped pooling halves the later strides; without pool5 there is no sixth map, unless
    `convolutional_fc` adds fc7.
    SegNet's encoder is depth 16, `batch_norm`, `pool_indices`, `ceil_mode`; Yu and Koltun's front end (1511.07122) is
    depth 16, `drop_pools: [4, 5]`, `padding: false`, `convolutional_fc`: strides 1, 2, 4, 8, 8, 8, a border of 186
    pixels, images of 8k + 372. Convolutions start from N(0, sqrt(2 / fan_in)) with biases 0.

    Args:
        depth: 11, 13, 16 or 19 layers, counting three fully connected ones that are not here.
        batch_norm: whether it stands between convolution and ReLU; convolutions keep their biases, as in torchvision and SegNet.
        weights: torchvision's name (`IMAGENET1K_V1`; downloaded once), or a file with the names of torchvision, timm, smp
            or Caffe. fc6 and fc7 are filled from the classifier when the file has it.
        in_channels: channels of the images. Published weights of 3 are summed for 1, and repeated in turn for more.
        pool_indices: whether the pyramid carries where the maxima stood, for the neck `index_unpool`.
        index_storage: what a pooling window's index takes: 8 bytes, 1 byte, or 2 bits (`ops/pooling.py`).
        ceil_mode: whether an odd row or column gets a window of its own (Caffe), or is dropped (torchvision).
        pooling: kind of all poolings: maximum, mean, Euclidean norm or stochastic (`layers/pooling.py`).
        drop_pools: numbers (1 to 5) of poolings that are left out.
        dilations: dilation of the convolutions of each stage; None: twice as large behind every dropped pooling, so
            that each sees what it would have seen.
        padding: whether convolutions keep the size of a map; false is Yu and Koltun's net, which loses borders.
        convolutional_fc: whether two layers follow and give the last map: fc6 as a 7x7 convolution (dilated like a
            sixth stage) and fc7 as 1x1, each 4096 wide with ReLU and dropout 0.5.
        dropout_after: numbers of stages whose (pooled) output passes element-wise dropout; Bayesian SegNet: [3, 4, 5].
        dropout: probability, 0..1, that a value is dropped there.
        bn_eps: number added to the variances of batch normalisation; official SegNet 1e-9.
        bn_shift: first value of the shift of batch normalisation; official SegNet 0.001.
        width: channels of the first stage, 64 in the paper; all others, fc6 and fc7 too, keep their ratio to it.
        bgr_mean: Caffe's pixels: images stay 0..255, blue first, minus these three numbers ([0, 0, 0]: SegNet, which
            subtracts nothing). None: ImageNet's statistics as torchvision's weights expect them.

    Raises:
        ConfigError: arguments that contradict one another.
        CheckpointError: weights that cannot be had or do not fit.
    """

    def __init__(
        self,
        depth: Literal[11, 13, 16, 19] = 16,
        batch_norm: bool = False,
        weights: str | None = None,
        in_channels: PositiveInt = 3,
        pool_indices: bool = False,
        index_storage: Storage = "uint8",
        ceil_mode: bool = False,
        pooling: PoolingKind = "max",
        drop_pools: list[Literal[1, 2, 3, 4, 5]] | None = None,
        dilations: list[PositiveInt] | None = None,
        padding: bool = True,
        convolutional_fc: bool = False,
        dropout_after: list[Literal[1, 2, 3, 4, 5]] | None = None,
        dropout: Probability = 0.5,
        bn_eps: PositiveFloat = 1e-5,
        bn_shift: float = 0.0,
        bgr_mean: list[float] | None = None,
        width: PositiveInt = FULL_WIDTH,
    ) -> None:
        super().__init__()
        channels = tuple(max(1, one * width // FULL_WIDTH) for one in (*WIDTHS, FC_WIDTH))
        kept = [stage not in (drop_pools or []) for stage in range(1, 6)]
        spread = _dilations(dilations, kept)
        _verify(pool_indices, pooling, kept, convolutional_fc, dilations, bgr_mean, in_channels)
        self.index_storage: Storage = index_storage
        self.ceil_mode = ceil_mode
        self.last_map = kept[-1] or convolutional_fc
        self.stages = _stages(in_channels, channels, CONVOLUTIONS[depth], spread, padding, batch_norm)
        self.pools = nn.ModuleList(pooling_layer(pooling, ceil_mode=ceil_mode) if k else nn.Identity() for k in kept)
        self.dropouts = nn.ModuleList(nn.Dropout(dropout if n in (dropout_after or []) else 0.0) for n in range(1, 6))
        self.fc = _fully_convolutional(channels, spread[-1], padding) if convolutional_fc else nn.Identity()
        self.spec = _spec(
            channels, CONVOLUTIONS[depth], kept, spread, padding, convolutional_fc, ceil_mode, pool_indices
        )
        self.pixel_stats = _statistics(in_channels, bgr_mean)
        he_normal_(self)
        set_batch_norm(self, bn_eps, bn_shift)
        if weights is not None:
            published = f"vgg{depth}" + ("_bn" if batch_norm else "")
            self.origin = fill_from(self, weights, "vgg", published, optional=("fc.",))

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Maps (N, C, H, W) before each pooling, then the last one."""
        # (`list[Tensor]()` would be a break in a compiled graph.)
        maps: list[Tensor] = []
        indices: list[PoolIndices] = []
        x = images
        for stage, pool, dropout in zip(self.stages, self.pools, self.dropouts, strict=True):
            x = stage(x)
            maps.append(x)
            if self.spec.pool_indices and not isinstance(pool, nn.Identity):
                x, where = max_pool(x, ceil_mode=self.ceil_mode, storage=self.index_storage)
                indices.append(where)
            else:
                x = pool(x)
            x = dropout(x)
        x = self.fc(x)
        maps = [*maps, x] if self.last_map else [*maps[:-1], x]
        return FeaturePyramid(tuple(maps), self.spec, (images.shape[-2], images.shape[-1]), tuple(indices))


def _verify(
    pool_indices: bool,
    pooling: str,
    kept: Sequence[bool],
    fc: bool,
    dilations: Sequence[int] | None,
    bgr_mean: Sequence[float] | None,
    in_channels: int,
) -> None:
    problems = []
    if pool_indices and (pooling != "max" or not all(kept[:-1]) or fc):
        message = "pool_indices needs max pooling after stages 1 to 4 and no convolutional_fc"
        problems.append(
            Problem("backbone 'vgg'", message, "set pooling: max, and leave drop_pools and convolutional_fc")
        )
    if dilations is not None and len(dilations) != len(kept):
        problems.append(Problem("backbone 'vgg'", f"dilations has {len(dilations)} numbers, wanted one a stage, 5"))
    if bgr_mean is not None and (in_channels != 3 or len(bgr_mean) != 3):
        message = f"bgr_mean needs 3 numbers and in_channels 3, found {len(bgr_mean)} and {in_channels}"
        problems.append(Problem("backbone 'vgg'", message))
    if problems:
        raise ConfigError(problems)


def _dilations(dilations: Sequence[int] | None, kept: Sequence[bool]) -> tuple[int, ...]:
    """One a stage, and a sixth for fc6."""
    natural = [2 ** kept[:stage].count(False) for stage in range(6)]
    return (*(natural[:5] if dilations is None else dilations), natural[5])


def _stages(
    in_channels: int,
    channels: Sequence[int],
    counts: Sequence[int],
    dilations: Sequence[int],
    padding: bool,
    batch_norm: bool,
) -> nn.ModuleList:
    stages = nn.ModuleList()
    for width, count, dilation in zip(channels, counts, dilations, strict=False):
        units = nn.Sequential()
        for unit in range(count):
            units.append(
                ConvNormAct(
                    in_channels if unit == 0 else width,
                    width,
                    dilation=dilation,
                    padding="same" if padding else "valid",
                    norm="batch" if batch_norm else "none",
                    bias=True,
                )
            )
        stages.append(units)
        in_channels = width
    return stages


def _fully_convolutional(channels: Sequence[int], dilation: int, padding: bool) -> nn.Sequential:
    before, after = channels[-2:]
    return nn.Sequential(
        nn.Conv2d(before, after, 7, padding=3 * dilation if padding else 0, dilation=dilation),
        nn.ReLU(inplace=True),
        nn.Dropout(FC_DROPOUT),
        nn.Conv2d(after, after, 1),
        nn.ReLU(inplace=True),
        nn.Dropout(FC_DROPOUT),
    )


def _spec(
    channels: Sequence[int],
    counts: Sequence[int],
    kept: Sequence[bool],
    dilations: Sequence[int],
    padding: bool,
    fc: bool,
    ceil_mode: bool,
    pool_indices: bool,
) -> PyramidSpec:
    strides, borders = [1], list[int]()
    for pooled in kept:
        strides.append(strides[-1] * (2 if pooled else 1))
    border = 0
    for count, dilation, stride in zip(counts, dilations, strides, strict=False):
        border += 0 if padding else count * dilation * stride
        borders.append(border)
    border += 3 * dilations[5] * strides[-1] if fc and not padding else 0
    channels = [*channels[:5], channels[5 if fc else 4]]
    number = 6 if kept[-1] or fc else 5
    total = strides[-1]
    rule = SizeRule() if ceil_mode else SizeRule(total)
    if not padding:  # every pooling must meet an even size, else the right edge is lost
        rule = SizeRule(2 * border + total, total, 2 * border % total)
    borders.append(border)
    return PyramidSpec(tuple(channels[:number]), tuple(strides[:number]), pool_indices, tuple(borders[:number]), rule)


def _statistics(in_channels: int, bgr_mean: Sequence[float] | None) -> PixelStats:
    if bgr_mean is None:
        return stats_for_channels(IMAGENET_STATS, in_channels)
    return PixelStats(tuple(value / 255 for value in bgr_mean), (1 / 255,) * 3, bgr=True)
