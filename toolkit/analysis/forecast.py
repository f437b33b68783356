"""How much memory and time passes will take, told before they are run: from small passes of the model, by pixels.

Everything a convolutional net holds grows with the pixels of its images; what does not (region features of a fixed
number of proposals) is the constant part. Two small passes give both.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from toolkit.analysis.device_memory import device_memory, gigabytes
from toolkit.analysis.memory import kept_for_backward, most_alive, without_numbers
from toolkit.errors import Problem, UserError
from toolkit.models.vision_model import VisionModel
from toolkit.ops.padding import legal_size
from toolkit.samples import Batch

_RESERVE = 1.6
"""What a pass takes beyond the storages that are counted: workspaces of convolutions and of the removal of doubled boxes,
copies in another layout, gaps of the allocator. Measured peaks of processes were 1.1 to 1.3 times the count for U-Nets and
1.6 to 1.8 times for a small Faster R-CNN (512^2 to 2048^2 pixels, PyTorch 2.14.1, CPU)."""
_SIDE = 128
"""Shorter side of the smallest picture a forecast is made from, or four cells of the coarsest map where that is more."""

LOOKED_AT_FROM = 1 << 21
"""Pixels of a batch from which its memory is forecast before it is predicted: fewer fit wherever PyTorch does."""


class MemoryForecast(NamedTuple):
    """Bytes beside the weights.

    Args:
        fixed: bytes that are held whatever the image's size.
        per_pixel: bytes for each pixel of the padded image.
    """

    fixed: float
    per_pixel: float

    def bytes(self, size: tuple[int, int], images: int = 1) -> int:
        """What predicting takes: `images` of (height, width) pixels in one batch."""
        return int(images * (self.fixed + self.per_pixel * size[0] * size[1]))

    def refuse_too_large(self, images: Tensor, remedies: list[str]) -> None:
        """Raises UserError, with numbers, for (N, C, H, W) images that need more memory than their device has free.

        remedies: what the user can do about it, best first.
        """
        memory = device_memory(images.device)
        height, width = images.shape[-2:]
        needed = self.bytes((height, width), len(images))
        if memory is None or needed <= memory.free:
            return
        message = f"{height}x{width} pixels need about {gigabytes(needed)} in this model, and {gigabytes(memory.free)} are free"
        side = int((height * width * memory.free / needed) ** 0.5)
        raise UserError(Problem("memory", message, "; or ".join([*remedies, f"shrink it to {side}x{side} or less"])))


@torch.no_grad()
def forecast_prediction(model: VisionModel) -> MemoryForecast:
    """What `model.predict` takes for pictures of any size, from two black ones of 128 and 256 pixels or a little more.

    The model is used on its own device; its mode and the random state are left as they were. Everything that its head
    does with the maps is counted, on the way to the answer in original pixels.
    """
    side = max(_SIDE, 4 * max(model.backbone.spec.strides))
    sizes = [legal_size((side * factor,) * 2, model.spec.sizes) for factor in (1, 2)]
    training = model.training
    try:
        with torch.random.fork_rng(devices=[]):
            model.eval()
            small, large = (_alive_in_prediction(model, size) for size in sizes)
    finally:
        model.train(training)
    pixels = [height * width for height, width in sizes]
    per_pixel = max(0.0, (large - small) / (pixels[1] - pixels[0]))
    return MemoryForecast(_RESERVE * max(0.0, small - per_pixel * pixels[0]), _RESERVE * per_pixel)


def _alive_in_prediction(model: VisionModel, size: tuple[int, int]) -> int:
    """The most that is alive while one black picture of a legal size is predicted."""
    images = torch.zeros((1, model.in_channels, *size), dtype=torch.uint8, device=next(model.parameters()).device)
    sizes = torch.tensor([size])
    batch = Batch(images, sizes, sizes, ("forecast",), torch.zeros(1, dtype=torch.int64))
    return most_alive(model, images, lambda _: model.predict(batch)).bytes


def training_bytes(model: VisionModel, size: tuple[int, int], images: int, copies: int = 3) -> int | None:
    """What a training step takes beside the weights; None for a batch that the model cannot be trained with.

    Args:
        model: the model on any device; a copy without numbers is watched.
        size: (height, width) of the images in pixels; padded to the next legal size.
        images: number of images of one process's batch.
        copies: copies of the trained weights that are held beside them: 1 for the gradient, and the optimizer's
            moments.
    """
    copied = without_numbers(model).train()
    shapes = torch.zeros(
        (images, model.in_channels, *legal_size(size, model.spec.sizes)), dtype=torch.uint8, device="meta"
    )
    try:
        kept = kept_for_backward(copied, shapes, lambda batch: copied.head.training_pass(copied.pyramid(batch)))
    except ValueError:  # batch statistics of a single number
        return None
    return int(_RESERVE * kept.bytes) + copies * _bytes_of_weights(copied)


def _bytes_of_weights(model: nn.Module) -> int:
    return sum(one.numel() * one.element_size() for one in model.parameters() if one.requires_grad)
