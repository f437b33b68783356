"""Monte-Carlo dropout: several samples of a net's answer, their mean and how much they disagree.

Kendall, Badrinarayanan, Cipolla, "Bayesian SegNet", 2015 (arXiv 1511.02680), section 3; SegNet-Tutorial,
Scripts/test_bayesian_segnet.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.errors import PartsError, Problem
from toolkit.heads.pixel import PixelHead
from toolkit.ops.argmax import best_classes
from toolkit.ops.resize import pixel_positions, resize, resize_positions, upsample
from toolkit.samples import Batch, LabelMap

if TYPE_CHECKING:  # it imports this file
    from toolkit.models.vision_model import VisionModel

_SEED = 20150915
"""Any number would do."""

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


@contextmanager
def sampled_dropout(model: nn.Module) -> Iterator[None]:
    """Everything in evaluation mode (batch normalisation uses its stored statistics) except dropout, which draws.

    Modes are put back at the end. Raises PartsError for a model without dropout, whose samples would be all alike.
    """
    layers = _dropouts(model)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _dropouts(model: nn.Module) -> Sequence[nn.Module]:
    """The active dropout layers. Raises PartsError when there are none."""
    layers = [module for module in model.modules() if isinstance(module, _DROPOUTS) and module.p > 0]
    if not layers:
        advice = "set `dropout_after` on the backbone and the neck, or predict without sampling"
        raise PartsError(Problem("model", "Monte-Carlo prediction needs dropout, and the model has none", advice))
    return layers


def refuse_without_dropout(model: VisionModel) -> None:
    """Raises PartsError for a model whose predictions cannot be sampled: no dropout, or no `pixel` head."""
    _dropouts(model)
    if not isinstance(model.head, PixelHead):
        found = type(model.head).__name__
        raise PartsError(Problem("model", f"Monte-Carlo prediction needs a pixel head, found {found}"))


def seeded_monte_carlo(model: VisionModel, batch: Batch, samples: PositiveInt) -> list[LabelMap]:
    """`monte_carlo_predict` with draws from a fixed seed; torch's global generators are left as they were."""
    device = batch.images.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(_SEED)
        return monte_carlo_predict(model, batch, samples)


@torch.no_grad()
def sample_probabilities(model: VisionModel, images: Tensor, samples: PositiveInt) -> tuple[Tensor, Tensor]:
    """Mean and variance over `samples` forward passes of the softmax, (N, K, h, w) float32 each.

    The softmaxes are averaged, not the logits. The variance is that of the samples themselves (divided by their
    number). images: of a legal size, as `VisionModel.prepared` gives them. Needs `sampled_dropout` around it.
    """
    mean = spread = torch.zeros(())
    for count in range(1, samples + 1):  # Welford: no difference of large sums
        probabilities = model.head(model.pyramid(images)).float().softmax(1)
        change = probabilities - mean.to(probabilities)
        mean = mean.to(change) + change / count
        spread = spread.to(change) + change * (probabilities - mean)
    return mean, spread / samples


@torch.no_grad()
def monte_carlo_predict(model: VisionModel, batch: Batch, samples: PositiveInt = 50) -> list[LabelMap]:
    """One label map an image, in original pixels, on the CPU, from the mean of `samples` softmaxes.

    scores: mean probability of the chosen class. uncertainty: variance of each class over the samples, averaged over
    the classes, 0 to 0.25. The paper samples 50 times; the official script draws 4 (SegNet) or 8 (SegNet-Basic).
    Draws come from torch's global generator. Raises PartsError without dropout or without a `pixel` head.
    """
    refuse_without_dropout(model)
    head = cast(PixelHead, model.head)
    with sampled_dropout(model):
        mean, variance = sample_probabilities(model, model.prepared(batch), samples)
    uncertainty = variance.mean(1, keepdim=True)
    sizes = zip(batch.sizes.tolist(), batch.original_sizes.tolist(), strict=True)
    return [
        _label_map(head, mean[i], uncertainty[i], (h, w), (big_h, big_w))
        for i, ((h, w), (big_h, big_w)) in enumerate(sizes)
    ]


def _label_map(
    head: PixelHead, mean: Tensor, uncertainty: Tensor, size: tuple[int, int], original_size: tuple[int, int]
) -> LabelMap:
    """One image: mean (K, h, w) and uncertainty (1, h, w) at the head's stride, to original pixels."""
    unsure = resize(upsample(uncertainty[None], head.stride, size, head.grid), original_size)[0, 0]
    if original_size == size:
        rows = pixel_positions(mean.shape[1], head.stride, size[0], head.grid)
        columns = pixel_positions(mean.shape[2], head.stride, size[1], head.grid)
    else:
        mean = upsample(mean[None], head.stride, size, head.grid)[0]
        rows, columns = (resize_positions(*pair) for pair in zip(size, original_size, strict=True))
    labels, scores = best_classes(mean, rows, columns, logits=False, with_scores=True)
    return LabelMap(labels.cpu(), None if scores is None else scores.cpu(), unsure.cpu())
