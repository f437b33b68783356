"""Cross-entropy of each pixel, weighted by class and by pixel."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from toolkit.bounds import Probability
from toolkit.contracts import LOSSES, PixelLoss
from toolkit.errors import ConfigError, Problem
from toolkit.losses.labels import counted_pixels
from toolkit.ops.class_weights import ClassWeights, resolve_class_weights
from toolkit.samples import IGNORE_INDEX


@LOSSES.register("cross_entropy")
class CrossEntropy(PixelLoss):
    """Mean over the counted pixels of -log softmax(logits)[label], in float32 whatever the precision.

    class_weights: one factor a class, the name of a preset (`ops/class_weights.py`), or `median_frequency`,
    `median_frequency_labelled` or `median_frequency_global`: the median of the classes' frequencies in the training set
    over each one's own, by the definitions A, B and C of `data/classes/frequencies.py`.
    normalise: what the sum of weighted terms is divided by: `weights`, the sum of the class weights of the counted
    pixels (`torch.nn.CrossEntropyLoss`), or `pixels`, their number (Caffe's SoftmaxWithLoss, which SegNet was trained
    with: caffe-segnet `softmax_loss_layer.cpp`). Without class weights the two are the same.
    label_smoothing: the share of the target spread evenly over all classes, as PyTorch defines it.
    A weight map multiplies the terms and leaves the divisor as it is (U-Net 2015, section 3).
    """

    def __init__(
        self,
        class_weights: ClassWeights | None = None,
        normalise: Literal["weights", "pixels"] = "weights",
        label_smoothing: Probability = 0.0,
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.label_smoothing = label_smoothing
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", resolve_class_weights(class_weights), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """Scalar; 0 when no pixel counts. Raises LabelError, and ConfigError for a wrong number of class weights."""
        counted = counted_pixels(logits, labels)
        weights = self.class_weights
        if weights is not None and len(weights) != logits.shape[1]:
            problem = f"class_weights has {len(weights)} numbers, but the model has {logits.shape[1]} classes"
            raise ConfigError(Problem("loss cross_entropy", problem))
        with torch.autocast(logits.device.type, enabled=False):
            terms = F.cross_entropy(
                logits.float(),
                labels,
                weights,
                ignore_index=IGNORE_INDEX,
                reduction="none",
                label_smoothing=self.label_smoothing,
            )
            if weight_map is not None:
                terms = terms * weight_map
            return terms.sum() / self._divisor(labels, counted)

    def denominator(self, labels: Tensor) -> Tensor:
        """Counted pixels, or the sum of their class weights; see `normalise`. On the labels' device."""
        counted = labels != IGNORE_INDEX
        if self.class_weights is None or self.normalise == "pixels":
            return counted.sum().float()
        return (self.class_weights.to(labels.device)[labels.where(counted, 0)] * counted).sum()

    def _divisor(self, labels: Tensor, counted: Tensor) -> Tensor:
        if self.class_weights is None or self.normalise == "pixels":
            return counted.sum().clamp_min(1).float()
        total = (self.class_weights[labels.where(counted, 0)] * counted).sum()
        return torch.where(total > 0, total, torch.ones_like(total))
