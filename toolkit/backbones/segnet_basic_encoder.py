"""The encoder of SegNet-Basic."""

from __future__ import annotations

from torch import Tensor, nn

from toolkit.bounds import PositiveFloat, PositiveInt, Probability
from toolkit.contracts import BACKBONES, Backbone, FeaturePyramid, PixelStats, PoolIndices, PyramidSpec
from toolkit.errors import ConfigError, Problem
from toolkit.layers.batch_norm import set_batch_norm
from toolkit.layers.conv import ConvNormAct
from toolkit.layers.init import he_normal_
from toolkit.ops.pooling import Storage, max_pool
from toolkit.weights.fit import fill_from


@BACKBONES.register("segnet_basic_encoder")
class SegNetBasicEncoder(Backbone):
    """Stages of one wide convolution with BN and ReLU, then 2x2 max pooling with indices (ceil).

    SegNet-Tutorial, Models/segnet_basic_train.prototxt: local response normalisation of the image (5 channels, alpha
    1e-4, beta 0.75, k 1), four 7x7 convolutions with 64 maps and biases. Pixels are 0..255, blue first, minus nothing.
    Maps: before each pooling at strides 1, 2, 4, 8 and the pooled last one at 16, `width` channels each. With the neck
    `index_unpool` (`convs: [1, 1, 1, 1]`, `kernel_size: 7`, `activation: none`) and a 1x1 `pixel` head: 1,416,587
    parameters at 11 classes. Convolutions start from N(0, sqrt(2 / fan_in)) with biases 0.

    Args:
        num_stages: number of convolutions, each with a pooling behind it.
        width: channels of every stage's map.
        kernel_size: side of every kernel in cells, odd.
        local_response_norm: whether the image is normalised by its neighbouring channels before anything else.
        in_channels: channels of the images: 1 for gray, 3 for RGB.
        index_storage: what a pooling window's index takes: 8 bytes, 1 byte, or 2 bits (`ops/pooling.py`).
        dropout_after: numbers of stages whose pooled output passes element-wise dropout; Bayesian SegNet-Basic: [3, 4].
        dropout: probability, 0..1, that a value is dropped there.
        bn_eps: number added to the variances of batch normalisation; official 1e-9.
        bn_shift: first value of the shift of batch normalisation; official 0.001.
        weights: a local .pth or .safetensors file with this backbone's names or those of the official prototxt.

    Raises:
        ConfigError: an even kernel.
        CheckpointError: weights that cannot be read or do not fit.
    """

    def __init__(
        self,
        num_stages: PositiveInt = 4,
        width: PositiveInt = 64,
        kernel_size: PositiveInt = 7,
        local_response_norm: bool = True,
        in_channels: PositiveInt = 3,
        index_storage: Storage = "uint8",
        dropout_after: list[PositiveInt] | None = None,
        dropout: Probability = 0.5,
        bn_eps: PositiveFloat = 1e-5,
        bn_shift: float = 0.001,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ConfigError(
                Problem("backbone 'segnet_basic_encoder'", f"kernel_size must be odd, found {kernel_size}")
            )
        self.index_storage: Storage = index_storage
        self.normalise = nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0) if local_response_norm else nn.Identity()
        self.stages = nn.ModuleList(
            ConvNormAct(width if stage else in_channels, width, kernel_size, bias=True) for stage in range(num_stages)
        )
        chosen = dropout_after or []
        self.dropouts = nn.ModuleList(nn.Dropout(dropout if n + 1 in chosen else 0.0) for n in range(num_stages))
        he_normal_(self)
        set_batch_norm(self, bn_eps, bn_shift)
        strides = tuple(2**stage for stage in range(num_stages + 1))
        self.spec = PyramidSpec((width,) * (num_stages + 1), strides, pool_indices=True)
        self.pixel_stats = PixelStats((0.0,) * in_channels, (1 / 255,) * in_channels, bgr=in_channels == 3)
        if weights is not None:
            self.origin = fill_from(self, weights, "segnet_basic_encoder")

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Maps (N, width, H, W) before each pooling, then the last pooled one, and the indices."""
        # (`list[Tensor]()` would be a break in a compiled graph.)
        maps: list[Tensor] = []
        indices: list[PoolIndices] = []
        x = self.normalise(images)
        for stage, dropout in zip(self.stages, self.dropouts, strict=True):
            x = stage(x)
            maps.append(x)
            x, where = max_pool(x, ceil_mode=True, storage=self.index_storage)
            indices.append(where)
            x = dropout(x)
        return FeaturePyramid((*maps, x), self.spec, (images.shape[-2], images.shape[-1]), tuple(indices))
