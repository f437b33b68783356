"""A `VisionModel` whose forward pass another engine computes: everything before and behind it is as it always is.

Tiles, mirrorings, thresholds, formats and evaluators ask a model for a pyramid and its head for what it makes of it.
Here the pyramid carries what the engine made, and the head hands it on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.contracts import DenseHead, FeaturePyramid
from toolkit.errors import ConfigError, DataError, Problem
from toolkit.export.answers import prediction_of
from toolkit.export.graph import PIXELS, RAW
from toolkit.export.programs import Run
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Batch, Detections, Prediction


@dataclass(frozen=True)
class AnsweredPyramid(FeaturePyramid):
    """A pyramid without maps of its own: the engine went on to what the head gives, (N, K, h, w).

    Args:
        raw: (N, K, h, w) float, what the engine gave.
    """

    raw: Tensor | None = None


class EngineModel(VisionModel):
    """The parts, names and rules of a model, with another engine's forward pass.

    Args:
        model: the model; it is taken over.
        run: the engine, with a program of this model.
    """

    def __init__(self, model: VisionModel, run: Run) -> None:
        torch.nn.Module.__init__(self)
        self.__dict__.update({name: value for name, value in vars(model).items() if name != "training"})
        self.run = run
        notes = run.notes or {}
        self.whole = notes.get("input", {}).get("name") != PIXELS
        """Whether the program begins at pictures; else at pixels that are normalised and padded."""
        own = self.head.forward
        self.head.forward = lambda pyramid: _raw_of(pyramid) if isinstance(pyramid, AnsweredPyramid) else own(pyramid)  # type: ignore[method-assign]
        self.eval()

    def pyramid(self, images: Tensor, sizes: Tensor | None = None) -> FeaturePyramid:
        """What the head reads; on the meta device and for analyses of the layers the model's own."""
        if images.is_meta or type(images) is not Tensor or (self.whole and self.border) or not self._dense:
            return super().pyramid(images, sizes)
        found = self.run(_bytes(images) if self.whole else self._pixels(images, sizes))
        return AnsweredPyramid((), self.spec, (images.shape[-2], images.shape[-1]), raw=torch.from_numpy(found[RAW]))

    def predict(self, pictures: Any) -> list[Prediction]:
        """See `VisionModel.predict`."""
        if not isinstance(pictures, Batch) or (self._dense and not (self.whole and self.border)):
            return super().predict(pictures)
        table = self.class_table
        return [one.of_classes(table) for one in self._answers(pictures)]

    @property
    def _dense(self) -> bool:
        return isinstance(self.head, DenseHead)

    def _answers(self, batch: Batch) -> list[Prediction]:
        """Answers of a program that goes from pictures to answers, scaled to the files' pixels."""
        if not self.whole:
            message = "this file begins at pixels and ends at logits (--raw), which only label maps and values of pixels can use"
            raise ConfigError(Problem(self.run.path, message, "export it without --raw"))
        found: list[Prediction] = []
        knows_files = bool((self.run.notes or {}).get("more_inputs"))
        for index in range(batch.count):
            height, width = batch.sizes[index].tolist()
            picture = _bytes(batch.images[index : index + 1, :, :height, :width])
            files = batch.original_sizes[index : index + 1].numpy()
            arrays = self.run(picture, files)
            one = prediction_of(arrays, self.head.gives)
            big_height, big_width = batch.original_sizes[index].tolist()
            resized = (height, width) != (big_height, big_width)
            if isinstance(one, Detections) and resized and not knows_files:
                scale = torch.tensor([big_width / width, big_height / height] * 2)
                one = Detections(one.boxes * scale, one.scores, one.labels)
            found.append(one)
        return found

    def _pixels(self, images: Tensor, sizes: Tensor | None) -> np.ndarray:
        """What the raw program takes."""
        return np.ascontiguousarray(self.padded(self.entering(images, sizes)).float().numpy())


def _raw_of(pyramid: AnsweredPyramid) -> Tensor:
    if pyramid.raw is None:
        raise ValueError("the pyramid holds no answer")
    return pyramid.raw


def _bytes(images: Tensor) -> np.ndarray:
    """(N, C, H, W) uint8 as (N, H, W, C). Raises DataError for floats, which programs of pictures do not take."""
    if images.dtype != torch.uint8:
        message = f"an exported program takes bytes, found {str(images.dtype).removeprefix('torch.')}"
        raise DataError(Problem("images", message, "give pictures of 0 to 255"))
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).cpu().numpy())
