"""Losses that measure how far what is predicted and what is true overlap, class by class: Dice, Jaccard, Tversky."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from toolkit.bounds import NonNegativeFloat
from toolkit.contracts import LOSSES, PixelLoss
from toolkit.errors import ConfigError, Problem
from toolkit.losses.labels import ClassMode, counted_pixels, one_hot, one_logit
from toolkit.ops.class_weights import ClassWeights, resolve_class_weights

CountedClasses = Literal["present", "all"]


class OverlapLoss(PixelLoss):
    """Mean over classes of 1 - score(overlap, predicted, true), sums over the counted pixels of the whole batch.

    With p the softmax probability of a class and g its truth as 0 or 1: overlap = sum(p g), predicted = sum(p),
    true = sum(g). A subclass writes `scores`.

    Args:
        classes: which classes enter the mean: `present` in the batch's truth, or `all`, where an absent class is
            pushed towards probability 0.
        smooth: added to numerator and denominator, in pixels, so that the quotient is defined; 0 or more, and with
            `classes: all` better above 0.
        class_weights: weight of each class in the mean: one number a class, or a name as in `cross_entropy`; None
            weighs all alike.
        ignore_background: whether the class 0 is left out of the mean.
        mode: `multiclass`, or `binary`, for two classes: the second alone, whose logit is the difference of the two.
    """

    divides = "processes"

    def __init__(
        self,
        classes: CountedClasses = "present",
        smooth: NonNegativeFloat = 1e-5,
        class_weights: ClassWeights | None = None,
        ignore_background: bool = False,
        mode: ClassMode = "multiclass",
    ) -> None:
        super().__init__()
        self.classes, self.smooth = classes, smooth
        self.ignore_background, self.mode = ignore_background, mode
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", resolve_class_weights(class_weights), persistent=False)

    @abstractmethod
    def scores(self, overlap: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        """How well each class is met, 0 to 1; all (K,) float32, sums of pixels.

        Args:
            overlap: (K,) sum of each class's probability where it is true.
            predicted: (K,) sum of each class's probability over all pixels.
            true: (K,) number of pixels of each class.
        """

    def class_losses(self, scores: Tensor) -> Tensor:
        """The loss of each class, (K,), from its score."""
        return 1 - scores

    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """Scalar; 0 when no pixel counts. Raises LabelError, ValueError when a weight map is given, and ConfigError for
        a wrong number of class weights or, in `binary` mode, of classes.

        Args:
            logits: (N, K, H, W) float, one for each class.
            labels: (N, H, W) int64 classes 0..K-1, `IGNORE_INDEX` where nothing counts.
            weight_map: None: this loss knows no weights of pixels.
        """
        if weight_map is not None:
            raise ValueError(f"loss '{self.term_name}' has no term a pixel and cannot use a weight map")
        counted = counted_pixels(logits, labels)
        with torch.autocast(logits.device.type, enabled=False):
            overlap, predicted, true = self.total(self._sums(logits.float(), labels, counted))
            weights = self._weights(true, logits.shape[1])
            losses = self.class_losses(self.scores(overlap, predicted, true))
            return (losses * weights).sum() / torch.where(weights.sum() > 0, weights.sum(), 1.0)

    def _sums(self, logits: Tensor, labels: Tensor, counted: Tensor) -> Tensor:
        """(3, K): overlap, predicted and true of each class, or of the second alone in `binary` mode."""
        truth = one_hot(labels, logits.shape[1])
        if self.mode == "binary":
            probability, truth = one_logit(logits, self.term_name).sigmoid(), truth[:, 1:]
        else:
            probability = logits.softmax(1)
        probability = probability * counted[:, None]
        over = (0, 2, 3)
        return torch.stack((probability.where(truth, 0).sum(over), probability.sum(over), truth.sum(over).float()))

    def _weights(self, true: Tensor, classes: int) -> Tensor:
        """(K,) of each class in the mean; 0 for those that do not enter."""
        enters = true > 0 if self.classes == "present" else (true.sum() > 0).expand_as(true)
        if self.mode == "binary":
            return enters.float()
        weights = enters.float()
        if self.class_weights is not None:
            if len(self.class_weights) != classes:
                message = f"class_weights has {len(self.class_weights)} numbers, but the model has {classes} classes"
                raise ConfigError(Problem(f"loss {self.term_name}", message))
            weights = weights * self.class_weights
        if self.ignore_background:
            weights = torch.cat((torch.zeros_like(weights[:1]), weights[1:]))
        return weights


def _quotient(above: Tensor, below: Tensor) -> Tensor:
    return above / below.clamp_min(torch.finfo(torch.float32).tiny)


@LOSSES.register("dice")
class Dice(OverlapLoss):
    """Mean over classes of 1 - (2 sum(p g) + smooth) / (sum(p) + sum(g) + smooth), sums over the counted pixels.

    p is the softmax probability, g the truth as 0 or 1, and the sums run over the whole batch (Milletari et al. 2016,
    V-Net, eq. 1, with p instead of its square in the divisor).

    Args:
        classes: which classes enter the mean: `present` in the batch's truth, or `all`, where an absent class is
            pushed towards probability 0.
        smooth: pixels added to numerator and denominator, which keeps the quotient defined; with `all` above 0.
        class_weights: weight of each class in the mean, one number a class or a name; None weighs all alike.
        ignore_background: whether the class 0 is left out of the mean over classes.
        mode: `multiclass`, or `binary`, for two classes: the second alone, whose logit is the difference of the two.
    """

    def scores(self, overlap: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        """Dice's coefficient of each class.

        Args:
            overlap: (K,) sum of each class's probability where it is true.
            predicted: (K,) sum of each class's probability over all pixels.
            true: (K,) number of pixels of each class.
        """
        return _quotient(2 * overlap + self.smooth, predicted + true + self.smooth)


@LOSSES.register("jaccard")
class Jaccard(OverlapLoss):
    """Mean over classes of 1 - (sum(p g) + smooth) / (sum(p) + sum(g) - sum(p g) + smooth): a soft IoU.

    Rahman and Wang 2016, "Optimizing intersection-over-union in deep neural networks for image segmentation", eq. 3.

    Args:
        classes: which classes enter the mean: `present` in the batch's truth, or `all`, where an absent class is
            pushed towards probability 0.
        smooth: pixels added to numerator and denominator, which keeps the quotient defined; with `all` above 0.
        class_weights: weight of each class in the mean, one number a class or a name; None weighs all alike.
        ignore_background: whether the class 0 is left out of the mean over classes.
        mode: `multiclass`, or `binary`, for two classes: the second alone, whose logit is the difference of the two.
    """

    def scores(self, overlap: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        """The intersection of each class over its union.

        Args:
            overlap: (K,) sum of each class's probability where it is true.
            predicted: (K,) sum of each class's probability over all pixels.
            true: (K,) number of pixels of each class.
        """
        return _quotient(overlap + self.smooth, predicted + true - overlap + self.smooth)


@LOSSES.register("tversky")
class Tversky(OverlapLoss):
    """Mean over classes of (1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth))^gamma, with soft counts.

    TP = sum(p g), FP = sum(p) - TP, FN = sum(g) - TP. Salehi et al. 2017 (arXiv 1706.05721), equation 3; gamma as in
    the focal Tversky loss (Abraham and Khan 2018, arXiv 1810.07842, eq. 4, where it is written 1 / gamma).

    Args:
        alpha: weight of false positives, 0 or more; larger makes the net more careful to predict a class.
        beta: weight of false negatives, 0 or more; larger makes it miss less (0.7 for rare structures in the paper).
        gamma: exponent of each class's loss, 0 or more; above 1 dwells on classes that are badly met.
        classes: which classes enter the mean: `present` in the batch's truth, or `all`, where an absent class is
            pushed towards probability 0.
        smooth: pixels added to numerator and denominator, which keeps the quotient defined; with `all` above 0.
        class_weights: weight of each class in the mean, one number a class or a name; None weighs all alike.
        ignore_background: whether the class 0 is left out of the mean over classes.
        mode: `multiclass`, or `binary`, for two classes: the second alone, whose logit is the difference of the two.
    """

    def __init__(
        self,
        alpha: NonNegativeFloat = 0.5,
        beta: NonNegativeFloat = 0.5,
        gamma: NonNegativeFloat = 1.0,
        classes: CountedClasses = "present",
        smooth: NonNegativeFloat = 1e-5,
        class_weights: ClassWeights | None = None,
        ignore_background: bool = False,
        mode: ClassMode = "multiclass",
    ) -> None:
        super().__init__(classes, smooth, class_weights, ignore_background, mode)
        self.alpha, self.beta, self.gamma = alpha, beta, gamma

    def scores(self, overlap: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        """Tversky's index of each class.

        Args:
            overlap: (K,) sum of each class's probability where it is true.
            predicted: (K,) sum of each class's probability over all pixels.
            true: (K,) number of pixels of each class.
        """
        wrong = self.alpha * (predicted - overlap) + self.beta * (true - overlap)
        return _quotient(overlap + self.smooth, overlap + wrong + self.smooth)

    def class_losses(self, scores: Tensor) -> Tensor:
        """(1 - score)^gamma of each class, (K,)."""
        if self.gamma == 1:
            return 1 - scores
        # The slope of x^gamma at 0 is infinite below 1: where a class is met, nothing is to be learned, and no NaN.
        return (1 - scores).clamp_min(torch.finfo(torch.float32).eps) ** self.gamma
