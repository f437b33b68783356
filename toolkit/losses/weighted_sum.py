"""Several losses at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from toolkit.contracts import LOSSES, PixelLoss
from toolkit.errors import ConfigError, Problem
from toolkit.losses.smp import SmpLoss


@LOSSES.register("weighted_sum")
class WeightedSum(PixelLoss):
    """weights[0] * losses[0] + weights[1] * losses[1] + ...; weights default to 1 each. Each part is logged by name."""

    def __init__(self, losses: list[PixelLoss], weights: list[float] | None = None) -> None:
        super().__init__()
        self.weights = [1.0] * len(losses) if weights is None else list(weights)
        if not losses or len(self.weights) != len(losses):
            problem = (
                f"weighted_sum needs one weight a loss, found {len(losses)} losses and {len(self.weights)} weights"
            )
            raise ConfigError(Problem("loss weighted_sum", problem))
        self.losses = nn.ModuleList(losses)

    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """Scalar, the sum of `terms`."""
        terms = list(self.terms(logits, labels, weight_map).values())
        return sum(terms[1:], terms[0])

    def terms(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> dict[str, Tensor]:
        """Each loss times its weight, by name; the second of a name is called `name_2`."""
        terms: dict[str, Tensor] = {}
        for loss, weight in zip(self.losses, self.weights, strict=True):
            for name, value in loss_terms(cast(PixelLoss, loss), logits, labels, weight_map).items():
                terms[_free_name(name, terms)] = weight * value
        return terms

    def amounts(self, labels: Tensor) -> dict[str, Tensor | None]:
        """`PixelLoss.amount` of each term."""
        found: dict[str, Tensor | None] = {}
        for loss in self.losses:
            for name, amount in loss_amounts(cast(PixelLoss, loss), labels).items():
                found[_free_name(name, found)] = amount
        return found


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    same = sum(known == name or known.startswith(f"{name}_") for known in taken)
    return f"{name}_{same + 1}" if same else name


def loss_terms(loss: PixelLoss, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> dict[str, Tensor]:
    """A loss under the name it is logged by; a weighted sum as its parts."""
    if isinstance(loss, WeightedSum):
        return loss.terms(logits, labels, weight_map)
    return {term_name(loss): loss(logits, labels, weight_map)}


def loss_amounts(loss: PixelLoss, labels: Tensor) -> dict[str, Tensor | None]:
    """What each of `loss_terms` divides by, under the same names; None where it is no mean over labels."""
    return loss.amounts(labels) if isinstance(loss, WeightedSum) else {term_name(loss): loss.amount(labels)}


def term_name(loss: PixelLoss) -> str:
    """The registered name (`cross_entropy`), for `smp` that of the loss it wraps, else the class's own name."""
    if isinstance(loss, SmpLoss):
        return loss.name
    name = LOSSES.name_of(type(loss))
    return type(loss).__name__ if ":" in name else name
