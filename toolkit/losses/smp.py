"""The losses of segmentation-models-pytorch, by name."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from toolkit.bounds import NonNegativeFloat
from toolkit.contracts import LOSSES, PixelLoss
from toolkit.errors import ConfigError, Problem
from toolkit.losses.labels import counted_pixels
from toolkit.samples import IGNORE_INDEX

_OPTIONS = {
    "dice": {"smooth", "log_loss"},
    "jaccard": {"smooth", "log_loss"},
    "tversky": {"smooth", "log_loss", "alpha", "beta", "gamma"},
    "focal": {"alpha", "gamma"},
    "lovasz": {"per_image"},
}
"""Which of our arguments each loss takes."""


@LOSSES.register("smp")
class SmpLoss(PixelLoss):
    """`segmentation_models_pytorch.losses` in its multi-class mode, on logits, in float32.

    name: dice, focal (Lin et al. 2017, one against the rest), jaccard, lovasz (Berman et al. 2018) or tversky (Salehi
    et al. 2017). An option left at None has that package's default; one that the named loss does not have is refused.
    alpha, beta: weights of false positives and false negatives (tversky); alpha: weight of the positives (focal).
    gamma: the focusing exponent. smooth: added to both sides of the quotient. log_loss: -log(score) instead of
    1 - score. per_image: mean over images instead of one sum over the batch (lovasz).
    """

    def __init__(
        self,
        name: Literal["dice", "focal", "jaccard", "lovasz", "tversky"],
        alpha: NonNegativeFloat | None = None,
        beta: NonNegativeFloat | None = None,
        gamma: NonNegativeFloat | None = None,
        smooth: NonNegativeFloat | None = None,
        log_loss: bool | None = None,
        per_image: bool | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        given = {"alpha": alpha, "beta": beta, "gamma": gamma, "smooth": smooth}
        options = {**given, "log_loss": log_loss, "per_image": per_image}
        self.loss = _build(name, {option: value for option, value in options.items() if value is not None})

    @property
    def term_name(self) -> str:
        """That of the loss it wraps."""
        return self.name

    def forward(self, logits: Tensor, labels: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """Scalar; 0 when no pixel counts. Raises LabelError, and ValueError when a weight map is given."""
        if weight_map is not None:
            raise ValueError(f"loss 'smp' ({self.name}) cannot use a weight map")
        counted = counted_pixels(logits, labels)
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            if not counted.any():  # several of them divide by the number of pixels
                return (logits * 0).sum()
            return self.loss(logits, labels)


def _build(name: str, options: dict[str, Any]) -> nn.Module:
    if name not in _OPTIONS:
        raise ConfigError(Problem("loss smp", f"no such loss: '{name}'", f"known: {', '.join(sorted(_OPTIONS))}"))
    unused = sorted(set(options) - _OPTIONS[name])
    if unused:
        takes = ", ".join(sorted(_OPTIONS[name]))
        raise ConfigError(Problem("loss smp", f"'{name}' has no option {', '.join(unused)}", f"it takes: {takes}"))
    from segmentation_models_pytorch import losses

    classes = {
        "dice": losses.DiceLoss,
        "focal": losses.FocalLoss,
        "jaccard": losses.JaccardLoss,
        "lovasz": losses.LovaszLoss,
        "tversky": losses.TverskyLoss,
    }
    return classes[name](mode="multiclass", ignore_index=IGNORE_INDEX, **options)
