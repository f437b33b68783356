"""Monte-Carlo dropout: several samples of a net's answer, their mean and how much they disagree.

Kendall, Badrinarayanan, Cipolla, "Bayesian SegNet", 2015 (arXiv 1511.02680), section 3; SegNet-Tutorial,
Scripts/test_bayesian_segnet.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.contracts import HEADS, DenseHead, FeaturePyramid, Head, Part
from toolkit.errors import PartsError, Problem
from toolkit.models.placed_dropout import PLACED, PlacedDropout, placed_dropout
from toolkit.samples import Batch, Prediction, each_image

_SEED = 20150915
"""Any number would do."""

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


class Sampled(Protocol):
    """What is asked of a model (a `VisionModel`) whose answers are sampled."""

    head: Head

    def modules(self) -> Iterator[nn.Module]:
        """Every layer, itself included."""
        ...

    def eval(self) -> nn.Module:
        """Puts every layer into evaluation mode, as `nn.Module.eval` does."""
        ...

    def prepared(self, batch: Batch) -> Tensor:
        """The images of a batch as the net gets to see them."""
        ...

    def prepared_sizes(self, batch: Batch) -> Tensor:
        """(N, 2) height and width of each of them."""
        ...

    def pyramid(self, images: Tensor, sizes: Tensor | None = None) -> FeaturePyramid:
        """The maps that the head reads, of prepared images (N, C, H, W)."""
        ...


@contextmanager
def sampled_dropout(model: Sampled) -> Iterator[None]:
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


def _dropouts(model: Sampled) -> Sequence[nn.Module]:
    """The active dropout layers. Raises PartsError when there are none."""
    layers = [module for module in model.modules() if isinstance(module, _DROPOUTS) and module.p > 0]
    if not layers:
        advice = "set `dropout_after` on the backbone and the neck, or predict without sampling"
        raise PartsError(Problem("model", "Monte-Carlo prediction needs dropout, and the model has none", advice))
    return layers


def refuse_without_dropout(model: Sampled) -> DenseHead:
    """The head of a model whose predictions can be sampled. Raises PartsError without dropout or without a dense head."""
    _dropouts(model)
    if not isinstance(model.head, DenseHead):
        found = HEADS.name_of(type(model.head))
        message = f"Monte-Carlo prediction needs a head that answers for every pixel, found '{found}'"
        raise PartsError(Problem("model", message, "predict without sampling"))
    return model.head


def seeded_monte_carlo(model: Sampled, batch: Batch, samples: PositiveInt) -> list[Prediction]:
    """`monte_carlo_predict` of each image alone, with draws by place from a fixed seed: whatever its batch and its tiles.

    Args:
        model: the model, with dropout and a dense head.
        batch: images as a loader collates them.
        samples: number of forward passes, 1 or more.
    """
    head = refuse_without_dropout(model)
    found: list[Prediction] = []
    for single in each_image(batch):
        found += predictions_of(head, *seeded_moments(model, single, samples), single)
    return found


def seeded_moments(model: Sampled, single: Batch, samples: PositiveInt) -> tuple[Tensor, Tensor]:
    """Mean and variance over samples of one image, (1, K, h, w) float32 each, with draws by place from a fixed seed.

    Args:
        model: the model, with dropout and a dense head.
        single: a batch of one image.
        samples: number of forward passes, 1 or more.
    """
    head = refuse_without_dropout(model)
    images, sizes = model.prepared(single), model.prepared_sizes(single)
    with placed_samples(model) as noise:

        def passed(sample: int) -> Tensor:
            noise.begin(sample)
            return head.sampled(head(model.pyramid(images, sizes)))

        return moments(passed, samples)


@contextmanager
def placed_samples(model: Sampled) -> Iterator[PlacedDropout]:
    """Everything in evaluation mode except dropout, which draws by place (`models/placed_dropout.py`) from a fixed seed.

    Modes are put back at the end. Raises PartsError for a model without dropout, or with dropout whose noise has no place.
    """
    layers = _dropouts(model)
    unplaced = [type(layer).__name__ for layer in layers if not isinstance(layer, PLACED)]
    if unplaced:
        message = f"Monte-Carlo prediction draws by place, which {unplaced[0]} cannot"
        raise PartsError(Problem("model", message, "use Dropout or Dropout2d"))
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with placed_dropout(layers, _SEED) as noise:
            yield noise
    finally:
        for module, mode in modes:
            module.training = mode


@torch.no_grad()
def moments(passed: Callable[[int], Tensor], samples: PositiveInt) -> tuple[Tensor, Tensor]:
    """Mean and variance (divided by their number) of `passed(1)` .. `passed(samples)`, float32."""
    mean = spread = torch.zeros(())
    for count in range(1, samples + 1):  # Welford: no difference of large sums
        sample = passed(count)
        change = sample - mean.to(sample)
        mean = mean.to(change) + change / count
        spread = spread.to(change) + change * (sample - mean)
    return mean, spread / samples


@torch.no_grad()
def sample_moments(
    model: Sampled, images: Tensor, samples: PositiveInt, sizes: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and variance over `samples` forward passes of what the head says is `sampled`, (N, K, h, w) float32 each.

    The variance is that of the samples themselves (divided by their number).

    Args:
        model: the model, inside `sampled_dropout`, with a dense head.
        images: (N, C, H, W) of a legal size, as `VisionModel.prepared` gives them.
        samples: number of forward passes, 1 or more.
        sizes: (N, 2), see `VisionModel.pyramid`. Needs `sampled_dropout` around it, and a dense head.
    """
    head = refuse_without_dropout(model)
    return moments(lambda _: head.sampled(head(model.pyramid(images, sizes))), samples)


@torch.no_grad()
def monte_carlo_predict(model: Sampled, batch: Batch, samples: PositiveInt = 50) -> list[Prediction]:
    """One prediction an image, in original pixels, on the CPU, from the mean of `samples` passes, with its uncertainty.

    Of a `pixel` head, `LabelMap`s: scores are mean probabilities, uncertainty the variance of each class over the
    samples averaged over the classes, 0 to 0.25. The paper samples 50 times; the official script draws 4 (SegNet) or
    8 (SegNet-Basic). Draws come from torch's global generator. Raises PartsError without dropout or a dense head.

    Args:
        model: the model, with dropout and a dense head.
        batch: images as a loader collates them.
        samples: number of forward passes, 1 or more.
    """
    head = refuse_without_dropout(model)
    with sampled_dropout(model):
        mean, variance = sample_moments(model, model.prepared(batch), samples, model.prepared_sizes(batch))
    return predictions_of(head, mean, variance, batch)


def predictions_of(head: DenseHead, mean: Tensor, variance: Tensor, batch: Batch) -> list[Prediction]:
    """A prediction for each image of a batch.

    Args:
        head: the head that the samples were drawn of.
        mean: (N, K, h, w) float32 mean of the samples.
        variance: (N, K, h, w) float32 variance of the samples.
        batch: the images, with their sizes and those of their files.
    """
    sizes = zip(batch.sizes.tolist(), batch.original_sizes.tolist(), strict=True)
    return [
        head.predict_samples(mean[i], variance[i], Part.whole((mean.shape[2], mean.shape[3]), (h, w), (big_h, big_w)))
        for i, ((h, w), (big_h, big_w)) in enumerate(sizes)
    ]
