"""SegNet's decoder: unpooling by the encoder's pooling indices, then convolutions."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from torch import nn

from toolkit.bounds import PositiveFloat, PositiveInt, Probability
from toolkit.contracts import NECKS, FeaturePyramid, Neck, PyramidSpec
from toolkit.errors import PartsError, Problem
from toolkit.layers.batch_norm import set_batch_norm
from toolkit.layers.conv import Activation, ConvNormAct
from toolkit.layers.init import he_normal_
from toolkit.layers.max_unpool import MaxUnpool
from toolkit.layers.recomputed import after

VGG16_MIRROR = (3, 3, 3, 2, 1)
"""Convolutions a stage of Models/segnet_train.prototxt, deepest first, without conv1_1_D, which is the head's."""

_WHERE = "neck 'index_unpool'"


@NECKS.register("index_unpool")
class IndexUnpool(Neck):
    """Undoes the backbone's poolings one by one, deepest first: unpool, then convolution, BN and ReLU, some times.

    Badrinarayanan, Kendall, Cipolla, "SegNet", 2015 (arXiv 1511.00561). Values return to where their maxima stood, so
    any image size is restored exactly, odd ones too. Only the last map of the pyramid is read. All convolutions of a
    stage have the width of the map that was pooled; its last one changes to the width of the next. The output is one
    map, as wide and as fine as the pyramid's first. Behind `vgg` (depth 16, `batch_norm`, `pool_indices`, `ceil_mode`)
    and before a 3x3 `pixel` head of 11 classes: 29,449,355 parameters in all. Convolutions have biases and start from
    N(0, sqrt(2 / fan_in)).

    Args:
        spec: what the backbone produces, with pooling indices.
        convs: convolutions a stage, deepest first; None: VGG16's mirror, [3, 3, 3, 2, 1] or the end of it.
            `Example_Models/bayesian_segnet_camvid.prototxt`, a deeper net, is [3, 3, 3, 2, 2]; SegNet-Basic [1, 1, 1,
            1].
        kernel_size: side of the kernels in cells, odd; 7 in SegNet-Basic.
        activation: what follows batch normalisation; `none` in SegNet-Basic.
        batch_norm: whether batch normalisation follows each convolution.
        dropout_after: numbers of stages whose last convolution is followed by element-wise dropout, counted as the
            backbone counts its own, so that the deepest is the highest: Bayesian SegNet [3, 4, 5], Basic [3, 4].
        dropout: probability, 0..1, that a value is dropped there.
        bn_eps: number added to the variances of batch normalisation; official SegNet 1e-9.
        bn_shift: first value of the shift of batch normalisation; official SegNet 0.001.

    Raises:
        PartsError: the pyramid has no pooling indices, or maps that these cannot undo.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        convs: list[PositiveInt] | None = None,
        kernel_size: PositiveInt = 3,
        activation: Activation = "relu",
        batch_norm: bool = True,
        dropout_after: list[PositiveInt] | None = None,
        dropout: Probability = 0.5,
        bn_eps: PositiveFloat = 1e-5,
        bn_shift: float = 0.0,
    ) -> None:
        super().__init__()
        _verify_spec(spec)
        number = len(spec) - 1
        counts = list(VGG16_MIRROR[-number:]) if convs is None else list(convs)
        _verify_arguments(spec, counts, kernel_size)
        self.unpools = nn.ModuleList(MaxUnpool() for _ in counts)
        self.stages = nn.ModuleList()
        for stage, count in zip(range(number, 0, -1), counts, strict=True):
            width, narrower = spec.channels[stage - 1], spec.channels[max(stage - 2, 0)]
            units = nn.Sequential(
                *(
                    ConvNormAct(
                        width,
                        narrower if unit == count - 1 else width,
                        kernel_size,
                        norm="batch" if batch_norm else "none",
                        activation=activation,
                        bias=True,
                    )
                    for unit in range(count)
                )
            )
            units.append(nn.Dropout(dropout if stage in (dropout_after or []) else 0.0))
            self.stages.append(units)
        he_normal_(self)
        set_batch_norm(self, bn_eps, bn_shift)
        self.spec = PyramidSpec(spec.channels[:1], spec.strides[:1], sizes=spec.sizes)

    def forward(self, pyramid: FeaturePyramid) -> FeaturePyramid:
        """The last map (N, C, h, w) in, one map of the finest map's size out."""
        x = pyramid.maps[-1]
        for unpool, stage, indices in zip(self.unpools, self.stages, reversed(pyramid.pools), strict=True):
            x = after(functools.partial(unpool, indices=indices), stage, x)
        return FeaturePyramid((x,), self.spec, pyramid.image_size)


def _verify_spec(spec: PyramidSpec) -> None:
    if not spec.pool_indices:
        message = f"needs pooling indices, but its input is {spec.describe()}"
        raise PartsError(Problem(_WHERE, message, "set `pool_indices: true` on the backbone"))
    if len(spec) < 2 or spec.channels[-1] != spec.channels[-2]:
        message = f"needs the last map to be the one before it, pooled, but its input is {spec.describe()}"
        raise PartsError(Problem(_WHERE, message, "keep the backbone's last pooling"))
    if any(spec.borders):
        message = f"cannot undo unpadded convolutions; its input {spec.describe()} has borders {spec.borders}"
        raise PartsError(Problem(_WHERE, message, "set `padding: true` on the backbone"))


def _verify_arguments(spec: PyramidSpec, counts: Sequence[int], kernel_size: int) -> None:
    if len(counts) != len(spec) - 1:
        message = f"convs has {len(counts)} numbers, but the backbone pools {len(spec) - 1} times ({spec.describe()})"
        raise PartsError(Problem(_WHERE, message, "give one number a pooling, deepest first"))
    if kernel_size % 2 == 0:
        raise PartsError(Problem(_WHERE, f"kernel_size must be odd, found {kernel_size}"))
