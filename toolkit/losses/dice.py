"""Soft Dice loss: one minus twice the overlap of probability and truth over their sum, class by class."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from toolkit.bounds import NonNegativeFloat
from toolkit.contracts import LOSSES, PixelLoss
from toolkit.losses.labels import counted_pixels


@LOSSES.register("dice")
class Dice(PixelLoss):
    """Mean over classes of 1 - (2 sum(p g) + smooth) / (sum(p) + sum(g) + smooth), sums over the counted pixels.

    p is the softmax probability, g the truth as 0 or 1, and the sums run over the whole batch (Milletari et al. 2016,
    V-Net, eq. 1, with p instead of its square in the divisor).
    classes: which classes enter the mean: `present` in the batch's truth, or `all`, where an absent class is pushed
    towards probability 0. smooth: keeps the quotient defined; with `all` it should not be 0.
    """

    def __init__(self, classes: Literal["present", "all"] = "present", smooth: NonNegativeFloat = 1e-5) -> None:
        super().__init__()
        self.classes = classes
        self.smooth = smooth

    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """Scalar; 0 when no pixel counts. Raises LabelError, and ValueError when a weight map is given."""
        if weight_map is not None:
            raise ValueError("loss 'dice' has no term a pixel and cannot use a weight map")
        counted = counted_pixels(logits, labels)
        with torch.autocast(logits.device.type, enabled=False):
            probability = logits.float().softmax(1) * counted[:, None]
            truth = labels[:, None] == torch.arange(logits.shape[1], device=labels.device)[:, None, None]
            over = (0, 2, 3)
            size = truth.sum(over)
            overlap = 2 * probability.where(truth, 0).sum(over) + self.smooth
            whole = (probability.sum(over) + size + self.smooth).clamp_min(torch.finfo(torch.float32).tiny)
            enters = size > 0 if self.classes == "present" else counted.any().expand_as(size)
            return ((1 - overlap / whole) * enters).sum() / enters.sum().clamp_min(1)
