"""Lovász-softmax: the Jaccard index made continuous, so that a net can be trained on the metric itself."""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit.contracts import LOSSES, PixelLoss
from toolkit.errors import ConfigError, Problem
from toolkit.losses.labels import ClassMode, counted_pixels, one_logit
from toolkit.ops.class_weights import ClassWeights, resolve_class_weights
from toolkit.ops.true_places import true_places


@LOSSES.register("lovasz")
class Lovasz(PixelLoss):
    """Mean over the classes present in the truth of the Lovász extension of 1 - IoU.

    Berman, Triki and Blaschko 2018 (arXiv 1705.08790), equations 8, 9 and 12, on softmax probabilities; `binary` is the
    Lovász hinge of the same paper (equation 10) on the difference of the two logits.

    Args:
        per_image: whether each image has its own loss, whose mean over the images that have labels is taken, instead
            of one over all pixels of the batch.
        class_weights: weight of each class in the mean, one number a class or a name as in `cross_entropy`; None
            weighs all alike.
        ignore_background: whether the class 0 is left out of the mean over classes.
        mode: `multiclass`, or `binary`, for two classes: the second against the first, by a hinge.
    """

    def __init__(
        self,
        per_image: bool = False,
        class_weights: ClassWeights | None = None,
        ignore_background: bool = False,
        mode: ClassMode = "multiclass",
    ) -> None:
        super().__init__()
        self.per_image, self.ignore_background, self.mode = per_image, ignore_background, mode
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", resolve_class_weights(class_weights), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """Scalar; 0 when no pixel counts. Raises LabelError, ValueError when a weight map is given, and ConfigError for
        a wrong number of class weights or, in `binary` mode, of classes.

        Args:
            logits: (N, K, H, W) float, one for each class.
            labels: (N, H, W) int64 classes 0..K-1, `IGNORE_INDEX` where nothing counts.
            weight_map: None: this loss knows no weights of pixels.
        """
        if weight_map is not None:
            raise ValueError("loss 'lovasz' has no term a pixel and cannot use a weight map")
        counted = counted_pixels(logits, labels)
        weights = self._weights(logits)
        with torch.autocast(logits.device.type, enabled=False):
            scores = one_logit(logits.float(), "lovasz") if self.mode == "binary" else logits.float().softmax(1)
            groups = range(len(labels)) if self.per_image else [slice(None)]
            losses = [self._flat(*_pixels(scores, labels, counted, group), weights) for group in groups]
            defined = [loss for loss in losses if loss is not None]
            return torch.stack(defined).mean() if defined else (scores * 0).sum()

    def _flat(self, scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor | None:
        """Of pixels (P, K) with labels (P,); None when they are none, or none of a class that has a weight."""
        if not len(labels):
            return None
        if self.mode == "binary":
            truth = labels == 1
            return _extension((1 - scores[:, 0] * torch.where(truth, 1.0, -1.0)).relu(), truth)
        classes = torch.arange(len(weights), device=labels.device)
        here = (labels[:, None] == classes).any(0) & (weights > 0)
        present = [k for k, found in enumerate(here.tolist()) if found]  # on a GPU the one wait for all classes
        if not present:
            return None
        parts = [
            weights[k] * _extension((labels == k).to(scores).sub(scores[:, k]).abs(), labels == k) for k in present
        ]
        return torch.stack(parts).sum() / torch.stack([weights[k] for k in present]).sum()

    def _weights(self, logits: Tensor) -> Tensor:
        weights = self.class_weights
        if weights is None:
            weights = logits.new_ones(logits.shape[1], dtype=torch.float32)
        elif len(weights) != logits.shape[1]:
            message = f"class_weights has {len(weights)} numbers, but the model has {logits.shape[1]} classes"
            raise ConfigError(Problem("loss 'lovasz'", message))
        return torch.cat((torch.zeros_like(weights[:1]), weights[1:])) if self.ignore_background else weights


def _pixels(scores: Tensor, labels: Tensor, counted: Tensor, group: int | slice) -> tuple[Tensor, Tensor]:
    """The counted pixels of an image, or of all: scores (P, K) and labels (P,)."""
    (kept,) = true_places([counted[group].flatten()])
    channels = scores.movedim(1, -1)[group].flatten(0, -2)
    return channels[kept], labels[group].flatten()[kept]


def _extension(errors: Tensor, truth: Tensor) -> Tensor:
    """The Lovász extension of the Jaccard loss at (P,) errors of a class, whose truth (P,) is boolean (Algorithm 1)."""
    errors, order = errors.sort(descending=True)
    truth = truth[order].float()
    missed = truth.sum() - truth.cumsum(0)
    union = truth.sum() + (1 - truth).cumsum(0)
    jaccard = 1 - missed / union
    slopes = torch.cat((jaccard[:1], jaccard.diff()))
    return (errors * slopes).sum()
