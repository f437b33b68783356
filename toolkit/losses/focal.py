"""Focal loss: cross-entropy in which pixels that are already right count little."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from toolkit.bounds import NonNegativeFloat, Probability
from toolkit.contracts import LOSSES
from toolkit.losses.labels import ClassMode, one_hot, one_logit
from toolkit.losses.mean import MeanPixelLoss, Normalise
from toolkit.ops.class_weights import ClassWeights


@LOSSES.register("focal")
class Focal(MeanPixelLoss):
    """Mean over the counted pixels and the classes of -a (1 - p)^gamma log(p), each class against the rest.

    p is the sigmoid's probability of what is true, that the pixel is of the class or that it is not (Lin et al. 2017,
    "Focal loss for dense object detection", equation 5; for several classes one against the rest, as
    segmentation-models-pytorch has it, whose values these are).

    Args:
        gamma: how strongly easy pixels are discounted, 0 or more; 0 is binary cross-entropy, the paper's is 2.
        alpha: weight of "is of the class", 0 to 1, with 1 - alpha for "is not" (the paper's is 0.25); None weighs
            both by 1.
        class_weights: factor of a pixel's term by its true class, as in `cross_entropy`; None weighs all alike.
        normalise: divide by the sum of those factors (`weights`) or by the number of counted pixels (`pixels`).
        ignore_background: whether the class 0 has no term of its own; its pixels still are "not" of the others.
        mode: `multiclass`, a term for each class, or `binary`, for two classes: one term, of the second class, whose
            logit is the difference of the two.
    """

    def __init__(
        self,
        gamma: NonNegativeFloat = 2.0,
        alpha: Probability | None = None,
        class_weights: ClassWeights | None = None,
        normalise: Normalise = "weights",
        ignore_background: bool = False,
        mode: ClassMode = "multiclass",
    ) -> None:
        super().__init__(class_weights, normalise)
        self.gamma, self.alpha = gamma, alpha
        self.ignore_background, self.mode = ignore_background, mode

    def pixel_terms(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over classes of -a (1 - p)^gamma log(p)."""
        truth = one_hot(labels, logits.shape[1])
        if self.mode == "binary":
            logits, truth = one_logit(logits, self.term_name), truth[:, 1:]
        elif self.ignore_background:
            logits, truth = logits[:, 1:], truth[:, 1:]
        terms = F.binary_cross_entropy_with_logits(logits, truth.to(logits), reduction="none")
        terms = terms * (1 - (-terms).exp()) ** self.gamma
        if self.alpha is not None:
            terms = terms * torch.where(truth, self.alpha, 1 - self.alpha)
        return terms.mean(1)
