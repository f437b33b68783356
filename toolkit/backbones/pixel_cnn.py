"""PixelCNN: masked convolutions that see only what was read before a pixel."""

from __future__ import annotations

from torch import Tensor, nn

from toolkit.bounds import NonNegativeInt, PositiveInt
from toolkit.contracts import BACKBONES, Backbone, FeaturePyramid, PixelStats, PyramidSpec
from toolkit.layers.causal import CausalConv2d
from toolkit.weights.fit import fill_from


@BACKBONES.register("pixel_cnn")
class PixelCnn(Backbone):
    """A pixel's features depend on the rows above it and on what stands left of it: never on itself or a later pixel.

    Van den Oord, Kalchbrenner and Kavukcuoglu 2016, "Pixel recurrent neural networks" (arXiv 1601.06759), table 1 and
    figure 5: a 7x7 convolution of mask A, then residual blocks (ReLU, 1x1 to half, ReLU, 3x3 of mask B, ReLU, 1x1 back),
    then ReLU, 1x1, ReLU. With the data set `own_pixels`, whose labels are the picture's own gray levels, the `pixel`
    head's softmax is the distribution of a pixel given all before it, and the validation loss its cost in nats. As in
    the paper a part of what was read is not seen (the blind spot at the right). One map, at stride 1.

    Args:
        in_channels: channels of the picture, of which all are masked alike; 1 for gray.
        width: channels of the masked 3x3 convolutions, the paper's h; twice as many run between the blocks.
        blocks: number of residual blocks; 15 in the paper.
        kernel_size: side of the first kernel in pixels, odd; 7 in the paper.
        weights: a local .pth or .safetensors file with this backbone's names, behind any beginning; None is random.

    Raises:
        CheckpointError: weights that cannot be read or do not fit.
    """

    def __init__(
        self,
        in_channels: PositiveInt = 1,
        width: PositiveInt = 16,
        blocks: NonNegativeInt = 15,
        kernel_size: PositiveInt = 7,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.spec = PyramidSpec((2 * width,), (1,))
        self.pixel_stats = PixelStats((0.5,) * in_channels, (0.5,) * in_channels)
        self.first = CausalConv2d(in_channels, 2 * width, kernel_size, "A")
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(2 * width, width, 1),
                nn.ReLU(),
                CausalConv2d(width, width, 3, "B"),
                nn.ReLU(),
                nn.Conv2d(width, 2 * width, 1),
            )
            for _ in range(blocks)
        )
        self.last = nn.Sequential(nn.ReLU(), nn.Conv2d(2 * width, 2 * width, 1), nn.ReLU())
        if weights is not None:
            self.origin = fill_from(self, weights, "pixel_cnn")

    def forward(self, images: Tensor) -> FeaturePyramid:
        """(N, in_channels, H, W) -> a map (N, 2 * width, H, W)."""
        x = self.first(images)
        for block in self.blocks:
            x = x + block(x)
        return FeaturePyramid((self.last(x),), self.spec, (images.shape[-2], images.shape[-1]))
