"""What losses that are the mean of a term a pixel have together: counting, weighting, float32, the divisor."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from toolkit.contracts import PixelLoss
from toolkit.errors import ConfigError, Problem
from toolkit.losses.labels import counted_pixels
from toolkit.ops.class_weights import ClassWeights, resolve_class_weights
from toolkit.samples import IGNORE_INDEX

Normalise = Literal["weights", "pixels"]


class MeanPixelLoss(PixelLoss):
    """The mean of `pixel_terms` over the counted pixels, in float32 whatever the precision.

    A subclass writes `pixel_terms`, and its constructor if it has parameters of its own. A weight map multiplies the
    terms and leaves the divisor as it is (U-Net 2015, section 3).

    Args:
        class_weights: factor of a pixel's term by its class: one number a class, the name of a preset
            (`ops/class_weights.py`), or `median_frequency`, `median_frequency_labelled` or `median_frequency_global`,
            the median of the classes' frequencies in the training set over each one's own (`data/frequencies.py`,
            definitions A, B, C); None weighs all alike.
        normalise: what the sum of weighted terms is divided by: `weights`, the sum of the class weights of the
            counted pixels (as `torch.nn.CrossEntropyLoss`), or `pixels`, their number (Caffe's SoftmaxWithLoss:
            caffe-segnet `softmax_loss_layer.cpp`). Without class weights the two are the same.
    """

    divides = "anywhere"

    def __init__(self, class_weights: ClassWeights | None = None, normalise: Normalise = "weights") -> None:
        super().__init__()
        self.normalise = normalise
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", resolve_class_weights(class_weights), persistent=False)
        # Denominators are asked of labels that are still on the host: copying the buffer back would wait for the device.
        self._host_weights = None if self.class_weights is None else self.class_weights.clone()

    @abstractmethod
    def pixel_terms(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The term of each pixel, (N, H, W).

        logits: (N, K, H, W) float32. labels: (N, H, W) int64, 0..K-1; 0 where nothing counts, and the term is left out.
        """

    def weighted_terms(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """`pixel_terms` times the weight of each pixel's class.

        Args:
            logits: (N, K, H, W) float, one for each class.
            labels: (N, H, W) int64 classes, all of them legal.
            weights: (K,) factor of each class, or None for equal ones.
        """
        terms = self.pixel_terms(logits, labels)
        return terms if weights is None else terms * weights[labels]

    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """Scalar; 0 when no pixel counts. Raises LabelError, and ConfigError for a wrong number of class weights.

        Args:
            logits: (N, K, H, W) float, one for each class.
            labels: (N, H, W) int64 classes 0..K-1, `IGNORE_INDEX` where nothing counts.
            weight_map: (N, H, W) float factor of each pixel's loss, or None.
        """
        counted = counted_pixels(logits, labels)
        weights = self._weights_for(logits.shape[1])
        labels = labels.where(counted, 0)
        with torch.autocast(logits.device.type, enabled=False):
            terms = self.weighted_terms(logits.float(), labels, weights).where(counted, 0)
            if weight_map is not None:
                terms = terms * weight_map
            divisor = self._divisor(labels, counted)
            return terms.sum() / torch.where(divisor > 0, divisor, torch.ones_like(divisor))

    def denominator(self, labels: Tensor) -> Tensor:
        """Counted pixels, or the sum of their class weights; see `normalise`. On the labels' device."""
        counted = labels != IGNORE_INDEX
        return self._divisor(labels.where(counted, 0), counted)

    def _divisor(self, labels: Tensor, counted: Tensor) -> Tensor:
        if self.class_weights is None or self.normalise == "pixels":
            return counted.sum().float()
        weights = self._host_weights if labels.device.type == "cpu" else self.class_weights
        assert weights is not None  # both or neither
        return (weights.to(labels.device)[labels] * counted).sum()

    def _weights_for(self, classes: int) -> Tensor | None:
        weights = self.class_weights
        if weights is not None and len(weights) != classes:
            message = f"class_weights has {len(weights)} numbers, but the model has {classes} classes"
            raise ConfigError(Problem(f"loss {self.term_name}", message))
        return weights
