"""How much memory a picture takes in tiles: found out by looking at two small passes, before a large one is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from toolkit.analysis.forecast import MemoryForecast
from toolkit.analysis.memory import most_alive
from toolkit.layers.row_bands import BAND_BYTES, in_row_bands
from toolkit.models.modes import evaluating
from toolkit.models.vision_model import VisionModel

MEASURED_SIDE = 256
"""Of the larger of the two passes, in pixels, without the model's border."""
_SIDES = (MEASURED_SIDE // 2, MEASURED_SIDE)
_RESERVE = 1.2
"""What a process takes beyond the storages that are counted and the copies of convolutions: gaps of the allocator."""
_OF_BANDS = 4 * BAND_BYTES
"""What a convolution reads and makes of a band of rows, and its copies of both."""


@torch.no_grad()
def tile_memory(model: VisionModel, work: Callable[[Tensor], Any], legal: Callable[[int], int]) -> MemoryForecast:
    """What one tile takes beside the weights, the picture and its answer.

    Args:
        model: the model on its device.
        work: predicts one tile, (1, C, h, w) uint8.
        legal: the smallest side of a tile, in pixels, that is not smaller than this.
    """
    on_cpu = model.pixel_scale.device.type == "cpu"
    sides = [legal(2 * model.border + side) for side in _SIDES]
    alive = []
    with evaluating(model), in_row_bands(0):
        for side in sides:
            images = torch.zeros((1, model.in_channels, side, side), dtype=torch.uint8, device=model.pixel_scale.device)
            alive.append(most_alive(model, images, work, copies=on_cpu).bytes)
    pixels = [side**2 for side in sides]
    per_pixel = max(0.0, (alive[1] - alive[0]) / (pixels[1] - pixels[0]))
    fixed = max(0.0, alive[0] - per_pixel * pixels[0]) + _OF_BANDS
    return MemoryForecast(_RESERVE * fixed, _RESERVE * per_pixel)
