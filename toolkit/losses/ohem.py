"""Cross-entropy of the hardest pixels only."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from toolkit.bounds import PositiveInt, Probability
from toolkit.contracts import LOSSES, PixelLoss
from toolkit.losses.labels import counted_pixels
from toolkit.samples import IGNORE_INDEX


@LOSSES.register("ohem")
class OnlineHardExamples(PixelLoss):
    """Mean cross-entropy of the pixels whose true class has a probability below `threshold`.

    Where fewer than `min_kept` pixels of the batch are that hard, the `min_kept` hardest are taken (with all that are
    as hard as the last of them, so that the order in the batch changes nothing). Wu, Shen and van den Hengel 2016
    (arXiv 1604.04339, section 3.3, "online bootstrapping"). 0.7 and 100,000 are what public re-implementations trained on
    Cityscapes settled on. A weight map multiplies the terms after the choice.

    Args:
        threshold: probability of the true class, 0..1, below which a pixel counts as hard.
        min_kept: least number of pixels that count, of the whole batch; choose it by the size of your own.
    """

    def __init__(self, threshold: Probability = 0.7, min_kept: PositiveInt = 100_000) -> None:
        super().__init__()
        self.threshold = threshold
        self.min_kept = min_kept

    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """Scalar; 0 when no pixel counts. Raises LabelError.

        Args:
            logits: (N, K, H, W) float, one for each class.
            labels: (N, H, W) int64 classes 0..K-1, `IGNORE_INDEX` where nothing counts.
            weight_map: (N, H, W) float factor of each pixel's loss, or None.
        """
        counted = counted_pixels(logits, labels)
        with torch.autocast(logits.device.type, enabled=False):
            terms = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE_INDEX, reduction="none")
            kept = self._choose(terms.detach(), counted)
            weighted = terms if weight_map is None else terms * weight_map
            return (weighted * kept).sum() / kept.sum().clamp_min(1)

    def _choose(self, terms: Tensor, counted: Tensor) -> Tensor:
        """Boolean (N, H, W): the pixels that enter the mean."""
        cut = terms.new_tensor(math.inf if self.threshold == 0 else -math.log(self.threshold))
        hardness = terms.masked_fill(~counted, -1).flatten()
        last = hardness.topk(min(self.min_kept, hardness.numel())).values[-1]
        return counted & (terms >= torch.minimum(cut, last))
