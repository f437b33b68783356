"""The loss of validation images beside the metric: a number an image, whatever batch or process it was in."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from toolkit.contracts import FeaturePyramid
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Batch, Prediction


class ValidationLoss:
    """Mean over images of the loss each would have alone, by term, in evaluation mode (no dropout, running statistics).

    A batch's own loss weighs pixels or boxes by what else is in the batch; a mean over images does not, so batch size,
    order and number of processes change nothing. Losses that draw (which boxes a detector looks at) draw by the
    image's name; the random state outside stays as it was.
    """

    def __init__(self) -> None:
        self.terms: dict[str, list[float]] = {}

    @torch.inference_mode()
    def add(self, model: VisionModel, pyramid: FeaturePyramid, batch: Batch) -> None:
        """Adds the images of a batch (on the model's device). pyramid, batch: as `model.for_loss` gives them."""
        devices = [batch.images.device] if batch.images.device.type == "cuda" else []
        found: dict[str, list[Tensor]] = {}
        with torch.random.fork_rng(devices):
            for number, name in enumerate(batch.names):
                torch.manual_seed(zlib.crc32(name.encode()))
                for term, value in model.head.loss(_one_map(pyramid, number), _one(batch, number)).items():
                    found.setdefault(term, []).append(value.detach().float())
        for term, values in found.items():
            self.terms.setdefault(term, []).extend(torch.stack(values).tolist())

    def merge(self, terms: dict[str, list[float]]) -> None:
        """Adds another process' images."""
        for term, values in terms.items():
            self.terms.setdefault(term, []).extend(values)

    def compute(self) -> dict[str, float | None]:
        """The sum as "loss", and each "loss/TERM"; None where it is not finite, {} without images."""
        # The exact sum, rounded once, is the same in any order.
        means = {f"loss/{term}": _mean(values) for term, values in sorted(self.terms.items())}
        if not means:
            return {}
        numbers = {"loss": sum(means.values()), **means}
        return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan


def predict_and_measure(model: VisionModel, batch: Batch, loss: ValidationLoss) -> list[Prediction]:
    """`model.predict(batch)`, with the loss of the same images added to `loss`.

    One pass serves both where prediction shows the net the images as they are: a legal size, no border to mirror, one
    sample. Otherwise the loss is a second pass, over what training would show the net.
    """
    height, width = batch.images.shape[-2:]
    rule = model.spec.sizes
    as_they_are = model.samples == 1 and model.border == 0 and rule.allows(height) and rule.allows(width)
    with torch.inference_mode():
        pyramid, prepared = model.for_loss(batch)
        predictions = model.head.predict(pyramid, batch) if as_they_are else model.predict(batch)
        loss.add(model, pyramid, prepared)
    return predictions


def _one_map(pyramid: FeaturePyramid, number: int) -> FeaturePyramid:
    maps = tuple(one[number : number + 1] for one in pyramid.maps)
    return FeaturePyramid(maps, pyramid.spec, pyramid.image_size)


def _one(batch: Batch, number: int) -> Batch:
    def part(value: Any) -> Any:
        if isinstance(value, (Tensor, Sequence)) and len(value):
            return value[number : number + 1]
        return value

    return Batch(*(part(value) for value in batch))
