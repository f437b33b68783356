"""Several losses at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from toolkit.contracts import LOSSES, PixelLoss
from toolkit.errors import ConfigError, Problem


@LOSSES.register("weighted_sum")
class WeightedSum(PixelLoss):
    """weights[0] * losses[0] + weights[1] * losses[1] + ...; each part is logged by name.

    Args:
        losses: the losses that are added, one at least, each by its name and arguments.
        weights: factor of each loss, in the same order; null is 1 for each.
    """

    divides = "anywhere"  # its parts say for themselves

    def __init__(self, losses: list[PixelLoss], weights: list[float] | None = None) -> None:
        super().__init__()
        self.weights = [1.0] * len(losses) if weights is None else list(weights)
        if not losses or len(self.weights) != len(losses):
            problem = f"needs one weight a loss, found {len(losses)} losses and {len(self.weights)} weights"
            raise ConfigError(Problem("loss 'weighted_sum'", problem))
        self.losses = nn.ModuleList(losses)

    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """Scalar, the sum of `terms`.

        Args:
            logits: (N, K, H, W) float, one for each class.
            labels: (N, H, W) int64 classes 0..K-1, `IGNORE_INDEX` where nothing counts.
            weight_map: (N, H, W) float factor of each pixel's loss, or None.
        """
        terms = list(self.terms(logits, labels, weight_map).values())
        return sum(terms[1:], terms[0])

    def terms(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> dict[str, Tensor]:
        """Each loss times its weight, by name; the second of a name is called `name_2`.

        Args:
            logits: (N, K, H, W) float, one for each class.
            labels: (N, H, W) int64 classes 0..K-1, `IGNORE_INDEX` where nothing counts.
            weight_map: (N, H, W) float factor of each pixel's loss, or None.
        """
        terms: dict[str, Tensor] = {}
        for loss, weight in zip(self.losses, self.weights, strict=True):
            for name, value in cast(PixelLoss, loss).terms(logits, labels, weight_map).items():
                terms[_free_name(name, terms)] = weight * value
        return terms

    def denominators(self, labels: Tensor) -> dict[str, Tensor | None]:
        """Each loss's own, by the names of `terms`."""
        found: dict[str, Tensor | None] = {}
        for loss in self.losses:
            for name, divisor in cast(PixelLoss, loss).denominators(labels).items():
                found[_free_name(name, found)] = divisor
        return found


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    same = sum(known == name or known.startswith(f"{name}_") for known in taken)
    return f"{name}_{same + 1}" if same else name
