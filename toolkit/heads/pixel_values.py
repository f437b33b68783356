"""The head that gives every pixel a number: dense regression (depth, height, flow of one component)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.contracts import HEADS, DenseHead, FeaturePyramid, Part, PyramidSpec
from toolkit.errors import DataError, PartsError, Problem
from toolkit.ops.map_parts import lines_of_part, read_part
from toolkit.ops.resize import in_pixels, resampled, upsample
from toolkit.samples import Batch, Prediction, ValueMap

WHERE = "head 'pixel_values'"

LAMBDA = 0.5
"""Share of the common factor that the scale-invariant loss forgives: Eigen et al. 2014 (arXiv 1406.2283), 3.2."""


@HEADS.register("pixel_values")
class PixelValuesHead(DenseHead):
    """One convolution from a map to one number a cell, (N, 1, h, w) at the map's stride, upsampled to pixels.

    Pixels whose true value is NaN are unknown and count nowhere. A map with a border (unpadded convolutions) is
    compared with the pixels it covers. num_classes is not used: a data set of value maps names its one value.

    Args:
        spec: what the backbone or neck produces.
        num_classes: not used: a data set of value maps names one value.
        stride: stride of the map that is read, in pixels; null takes the finest.
        kernel_size: side of the kernel: 1, or 3 with padding 1.
        loss: `l1`, `mse`, or `silog`, the scale-invariant error of Eigen et al. 2014, equation 4: with d the difference
            of logarithms, mean(d^2) - 0.5 mean(d)^2, an image at a time.
        positive: whether the convolution's result is the logarithm of the value, so that values are above 0.

    Raises:
        PartsError: no map of that stride; `silog` without `positive`.
    """

    gives: ClassVar[type[Prediction] | None] = ValueMap

    def __init__(
        self,
        spec: PyramidSpec,
        num_classes: int,
        stride: PositiveInt | None = None,
        kernel_size: Literal[1, 3] = 1,
        loss: Literal["l1", "mse", "silog"] = "l1",
        positive: bool = False,
    ) -> None:
        super().__init__()
        if loss == "silog" and not positive:
            raise PartsError(Problem(WHERE, "the loss silog takes logarithms of the values", "set positive: true"))
        self.index = 0 if stride is None else spec.index_of(stride, WHERE)
        self.stride, self.border = spec.strides[self.index], spec.borders[self.index]
        self.loss_name, self.positive = loss, positive
        self.regressor = nn.Conv2d(spec.channels[self.index], 1, kernel_size, padding=kernel_size // 2)

    def forward(self, pyramid: FeaturePyramid) -> Tensor:
        """Raw numbers (N, 1, h, w) at the map's stride; logarithms of the values when `positive`."""
        return self.regressor(pyramid.maps[self.index])

    def loss(self, pyramid: FeaturePyramid, batch: Batch) -> dict[str, Tensor]:
        """The mean over known pixels (silog: over images with any); 0 when none is. Raises DataError without maps."""
        if batch.value_maps is None:
            raise DataError(Problem(WHERE, "needs value maps, but the data set gives none"))
        covered = self.covered(batch.value_maps)
        raw = upsample(self(pyramid).float(), self.stride, (covered.shape[1], covered.shape[2]))[:, 0]
        wanted = covered.to(raw.device)
        known = ~wanted.isnan()
        if self.loss_name == "silog":
            _refuse_without_logarithm(wanted, batch.names)
            return {"regression": _scale_invariant(raw, wanted, known)}
        values = raw.exp() if self.positive else raw
        gap = values - torch.where(known, wanted, values.detach())
        terms = gap.abs() if self.loss_name == "l1" else gap.square()
        return {"regression": torch.where(known, terms, 0.0).sum() / known.sum().clamp(min=1)}

    def loss_denominators(self, batch: Batch) -> dict[str, Tensor]:
        """Known pixels; for silog images with any."""
        if batch.value_maps is None:
            return {}
        known = ~self.covered(batch.value_maps).isnan()
        return {"regression": (known.flatten(1).any(1) if self.loss_name == "silog" else known).sum().float()}

    def has_targets(self, batch: Batch) -> list[bool]:
        """Whether any pixel that is compared has a value."""
        if batch.value_maps is None:
            return [True] * batch.count
        found: list[bool] = (~self.covered(batch.value_maps).isnan()).flatten(1).any(1).tolist()
        return found

    def training_pass(self, pyramid: FeaturePyramid) -> Any:
        """The mean of the upsampled values' distances from zero."""
        height, width = (n - 2 * self.border for n in pyramid.image_size)
        raw = upsample(self(pyramid).float(), self.stride, (height, width))
        return (raw.exp() if self.positive else raw).abs().mean()

    @torch.no_grad()
    def predict_part(self, raw: Tensor, part: Part) -> ValueMap:
        """Raw numbers are resized to pixels, and only then (`positive`) made values.

        Args:
            raw: (1, r, w) raw numbers of an image, or of a piece of it.
            part: the rectangle that is answered for, and where the piece lies.
        """
        maps = self._in_pixels(raw.float(), part)
        return ValueMap(maps.exp() if self.positive else maps)

    def exported(
        self, raw: Any, pyramid: FeaturePyramid, size: tuple[int, int], original_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """values (N, H, W) float32.

        Args:
            raw: (N, 1, h, w) float values, as `forward` gives them.
            pyramid: not used: `raw` has all of the answer.
            size: (height, width) in pixels of the pictures that entered the net, without padding.
            original_size: (height, width) in pixels of the answer; `size` itself where nothing resized the pictures.
        """
        maps = in_pixels(raw, self.stride, size)
        values = (maps if original_size is size else resampled(maps, original_size))[:, 0]
        return {"values": values.exp() if self.positive else values}

    def exported_samples(
        self, mean: Tensor, variance: Tensor, size: tuple[int, int], original_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """values (N, H, W) and uncertainty (N, H, W) float32: mean and variance of the samples.

        Args:
            mean: (N, 1, h, w) float32 mean of the samples' values.
            variance: (N, 1, h, w) float32 variance of the samples' values.
            size: (height, width) in pixels of the pictures that entered the net, without padding.
            original_size: (height, width) in pixels of the answer; `size` itself where nothing resized the pictures.
        """
        maps = in_pixels(torch.cat((mean, variance), 1), self.stride, size)
        maps = maps if original_size is size else resampled(maps, original_size)
        return {"values": maps[:, 0], "uncertainty": maps[:, 1]}

    def sampled(self, raw: Tensor) -> Tensor:
        """The values (N, 1, h, w) of raw outputs, whose mean and variance over samples are taken."""
        return raw.float().exp() if self.positive else raw.float()

    @torch.no_grad()
    def predict_samples(self, mean: Tensor, variance: Tensor, part: Part) -> ValueMap:
        """The mean value, and its variance over the samples.

        Args:
            mean: (1, r, w) float32 mean of the samples.
            variance: (1, r, w) float32 variance of the samples.
            part: the rectangle that is answered for, and where these pieces lie.
        """
        return ValueMap(self._in_pixels(mean, part), self._in_pixels(variance, part))

    def _in_pixels(self, raw: Tensor, part: Part) -> Tensor:
        """(1, r, w) to the pixels of the rectangle, on the CPU."""
        return read_part(raw, *lines_of_part(part, self.stride, self.grid))[0].cpu()


def _refuse_without_logarithm(wanted: Tensor, names: Sequence[str]) -> None:
    wrong = (wanted <= 0).flatten(1).any(1).tolist()
    if any(wrong):
        found = ", ".join(name for name, bad in zip(names, wrong, strict=True) if bad)
        message = f"the loss silog needs values above 0, but these have others: {found}"
        raise DataError(Problem(WHERE, message, "mark unknown pixels as such (`unknown` of the data set)"))


def _scale_invariant(logarithms: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """Eigen et al. 2014, equation 4, averaged over the images that have a known pixel. All (N, H, W)."""
    count = known.flatten(1).sum(1)
    gap = torch.where(known, logarithms - torch.where(known, wanted, 1.0).log(), 0.0).flatten(1)
    n = count.clamp(min=1)
    terms = gap.square().sum(1) / n - LAMBDA * (gap.sum(1) / n).square()
    return terms.sum() / (count > 0).sum().clamp(min=1)
