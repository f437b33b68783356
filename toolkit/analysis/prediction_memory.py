"""How much memory a picture will take in a model, told before it is shown to it."""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit.analysis.device_memory import device_memory, gigabytes
from toolkit.analysis.memory import most_alive, without_numbers
from toolkit.errors import Problem, UserError
from toolkit.models.vision_model import VisionModel
from toolkit.ops.padding import legal_size

_SIDES = 256, 512
"""Of the two pictures that are looked at, without numbers; larger ones take memory in proportion to their pixels."""
LOOKED_AT_FROM = 1 << 21
"""Pixels of a batch from which its memory is estimated: fewer fit wherever PyTorch does."""
_RESERVE = 1.25
"""Workspace of convolutions and what the allocator rounds up: large detectors on a CPU took 1.0 to 1.2 times the bytes."""


class PredictionMemory:
    """Estimates the memory of predictions and refuses pictures that cannot fit, so that the system need not end the process.

    The most bytes alive at one moment of a pass grow in proportion to the pixels. They are counted once, on a copy of
    the model without numbers, for two sizes of pictures.
    """

    def __init__(self, model: VisionModel) -> None:
        self.model = model
        self._per_pixel: float | None = None

    def bytes_of(self, pixels: int) -> int:
        """Estimated bytes for images of so many pixels in all; 0 where the model tells nothing of itself."""
        if self._per_pixel is None:
            self._per_pixel = _bytes_per_pixel(self.model)
        return int(_RESERVE * self._per_pixel * pixels)

    def refuse_too_large(self, images: Tensor, remedies: list[str]) -> None:
        """Raises UserError, with numbers, for (N, C, H, W) images that need more memory than there is."""
        pixels = images.shape[0] * images.shape[-2] * images.shape[-1]
        memory = device_memory(self.model.pixel_scale.device) if pixels >= LOOKED_AT_FROM else None
        needed = self.bytes_of(pixels) if memory is not None else 0
        if memory is None or needed <= memory.free:
            return
        size = f"{images.shape[-2]}x{images.shape[-1]}"
        message = f"{size} pixels need about {gigabytes(needed)} in this model, and {gigabytes(memory.free)} are free"
        fitting = int((pixels * memory.free / needed) ** 0.5)
        raise UserError(
            Problem("memory", message, "; or ".join([*remedies, f"shrink it to {fitting}x{fitting} or less"]))
        )


@torch.no_grad()
def _bytes_per_pixel(model: VisionModel) -> float:
    copy = without_numbers(model).eval()
    counted = []
    try:
        with torch.device("meta"):
            for side in _SIDES:
                height, width = legal_size((side + 2 * model.border, side + 2 * model.border), model.spec.sizes)
                images = torch.zeros((1, model.in_channels, height, width), dtype=torch.uint8, device="meta")
                counted.append((height * width, most_alive(copy, images, copy).bytes))
    except Exception:  # a part of somebody's own that needs numbers: an estimate must not become an error
        return 0.0
    (few, little), (many, much) = counted
    return max(0.0, (much - little) / (many - few))
