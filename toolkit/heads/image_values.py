"""The head that gives a whole image numbers: regression."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.bounds import PositiveInt, Probability
from toolkit.contracts import HEADS, FeaturePyramid, Head, PyramidSpec
from toolkit.errors import DataError, PartsError, Problem
from toolkit.heads.image import last_map, of_images
from toolkit.layers.fully_connected import Activation, FullyConnected, GlobalPool
from toolkit.samples import Batch, ImageValues, Prediction

LOSSES = {"mse": F.mse_loss, "l1": F.l1_loss, "smooth_l1": F.smooth_l1_loss}


@HEADS.register("image_values")
class ImageValuesHead(Head):
    """Pools the last map, then fully connected layers to K numbers, (N, K), one for each value the data set names.

    The data set's `classes` are the names of its values ([age, weight]). A value that is NaN counts in no loss.

    Args:
        spec: what the backbone or neck produces; the last map is read.
        num_classes: K, how many values the data set names.
        pool: `average`, `max`, or `none` for a map of exactly grid x grid cells.
        grid: cells along each side of the map after pooling.
        hidden: widths of the fully connected layers before the last; null is none.
        dropout: probability, 0..1, before each fully connected layer, the last included; null is none.
        activation: function between the fully connected layers, none behind the last.
        loss: mean squared error, mean absolute error, or Huber's between them (beta 1).

    Raises:
        PartsError: no value; lists of the wrong length.
    """

    gives: ClassVar[type[Prediction] | None] = ImageValues

    def __init__(
        self,
        spec: PyramidSpec,
        num_classes: int,
        pool: GlobalPool = "average",
        grid: PositiveInt = 1,
        hidden: list[PositiveInt] | None = None,
        dropout: list[Probability] | None = None,
        activation: Activation = "relu",
        loss: Literal["mse", "l1", "smooth_l1"] = "mse",
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise PartsError(Problem("head 'image_values'", "the data set names no value to predict"))
        self.layers = FullyConnected(
            spec.channels[-1], num_classes, pool, grid, hidden or (), dropout or (), activation, "head 'image_values'"
        )
        self.loss_name = loss

    def forward(self, pyramid: FeaturePyramid) -> Tensor:
        """The values (N, K) of each image; padding in the batch is pooled too."""
        return self.layers(pyramid.maps[-1])

    def loss(self, pyramid: FeaturePyramid, batch: Batch) -> dict[str, Tensor]:
        """The mean over all values that are not NaN; 0 when all are. Raises DataError without values of that number."""
        values = of_images(self.layers, pyramid, batch).float()
        wanted = batch.image_values
        if wanted is None or wanted.shape != values.shape:
            found = "none" if wanted is None else f"{wanted.shape[1]}"
            raise DataError(Problem("head 'image_values'", f"needs {values.shape[1]} numbers an image, found {found}"))
        wanted = wanted.to(values.device)
        known = ~wanted.isnan()
        terms = LOSSES[self.loss_name](values, torch.where(known, wanted, values.detach()), reduction="sum")
        return {"regression": terms / known.sum().clamp(min=1)}

    def loss_denominators(self, batch: Batch) -> dict[str, Tensor]:
        """How many values of the batch are not NaN, which is what the loss's mean divides by."""
        if batch.image_values is None:
            return {}
        return {"regression": (~batch.image_values.isnan()).sum().float()}

    def has_targets(self, batch: Batch) -> list[bool]:
        """Whether any value is known."""
        if batch.image_values is None:
            return [True] * batch.count
        found: list[bool] = (~batch.image_values.isnan()).any(1).tolist()
        return found

    def shown_maps(self, pyramid: FeaturePyramid) -> dict[str, Tensor]:
        """The map (N, C, h, w) that is pooled: the last of the pyramid."""
        return last_map(super().shown_maps(pyramid))

    def exported(
        self, raw: Any, pyramid: FeaturePyramid, size: tuple[int, int], original_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """values (N, K) float32.

        Args:
            raw: (N, K) float values, as `forward` gives them.
            pyramid: not used: `raw` has all of the answer.
            size: not used: an image has one answer.
            original_size: not used: an image has one answer.
        """
        return {"values": raw}

    @torch.no_grad()
    def predict(self, pyramid: FeaturePyramid, batch: Batch) -> list[Prediction]:
        """Values (K,) of each image."""
        return [ImageValues(row) for row in of_images(self.layers, pyramid, batch).float().cpu()]
