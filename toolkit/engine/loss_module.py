"""The model as Fabric wraps it: a module whose forward is the loss, compiled if asked for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from toolkit.contracts import FeaturePyramid
from toolkit.models.vision_model import VisionModel
from toolkit.samples import IGNORE_INDEX, Batch


class LossModule(nn.Module):
    """What Fabric wraps: mixed precision reaches only a wrapped module's `forward`, so the loss has to be that.

    channels_last: memory order of the images, and so of every map; the model's weights should be in the same.
    compiled: torch.compile for the whole loss where it is of label maps, else (losses of boxes and of whole images look
    at their numbers) for backbone and neck. The model itself stays as it was: its names, and every other use of it, in
    evaluation say, know nothing of it.
    """

    def __init__(self, model: VisionModel, *, channels_last: bool = False, compiled: bool = False) -> None:
        super().__init__()
        self.model = model
        self.order = torch.channels_last if channels_last else torch.contiguous_format
        self._compiled: tuple[Callable[..., dict[str, Tensor]], Callable[..., FeaturePyramid]] | None = None
        if compiled:
            self._compiled = torch.compile(model.loss), torch.compile(model.pyramid)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The named loss terms of a batch."""
        batch = batch._replace(images=batch.images.contiguous(memory_format=self.order))
        if self._compiled is None:
            return self.model.loss(batch)
        loss, pyramid = self._compiled
        if batch.label_maps is None or batch.boxes is not None:
            legal = self.model.legal(batch)
            return self.model.head.loss(pyramid(legal.images), legal)
        if self._has_foreign_labels(batch.label_maps):
            return self.model.loss(batch)  # which says in which image
        # Every other name would be a new program.
        return loss(batch._replace(names=()))

    def _has_foreign_labels(self, labels: Tensor) -> bool:
        """As losses themselves, on the CPU only: elsewhere it would make every step wait."""
        if labels.device.type != "cpu":
            return False
        return bool(((labels >= self.model.num_classes) & (labels != IGNORE_INDEX)).any())
