"""Cross-entropy of each pixel, weighted by class and by pixel."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from toolkit.bounds import Probability
from toolkit.contracts import LOSSES
from toolkit.losses.mean import MeanPixelLoss, Normalise
from toolkit.ops.class_weights import ClassWeights


@LOSSES.register("cross_entropy")
class CrossEntropy(MeanPixelLoss):
    """Mean over the counted pixels of -log softmax(logits)[label], in float32 whatever the precision.

    Args:
        class_weights: factor of a pixel's term by its class: one number a class, the name of a preset
            (`camvid_segnet`), or `median_frequency`, `median_frequency_labelled` or `median_frequency_global`, counted
            in the training set (`data/frequencies.py`, definitions A, B, C); None weighs all classes alike.
        normalise: what the sum of weighted terms is divided by: `weights`, the sum of the class weights of the
            counted pixels (PyTorch), or `pixels`, their number (Caffe, which SegNet was trained with).
        label_smoothing: share of the target, 0 to 1, that is spread evenly over all classes, as PyTorch defines it.
    """

    def __init__(
        self,
        class_weights: ClassWeights | None = None,
        normalise: Normalise = "weights",
        label_smoothing: Probability = 0.0,
    ) -> None:
        super().__init__(class_weights, normalise)
        self.label_smoothing = label_smoothing

    def pixel_terms(self, logits: Tensor, labels: Tensor) -> Tensor:
        """-log softmax(logits)[label]."""
        return self.weighted_terms(logits, labels, None)

    def weighted_terms(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """With smoothing every class's part of a term has that class's own weight, as in PyTorch.

        Args:
            logits: (N, K, H, W) float, one for each class.
            labels: (N, H, W) int64 classes, all of them legal.
            weights: (K,) factor of each class, or None for equal ones.
        """
        return F.cross_entropy(logits, labels, weights, reduction="none", label_smoothing=self.label_smoothing)
