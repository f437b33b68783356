"""One batch of real training samples through the model, forward and backward, within a few seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from toolkit.contracts import Dataset, SizeRule, Transform
from toolkit.data.loading.loader import train_loader
from toolkit.data.loading.sampling import Draws
from toolkit.data.transforms.augment import resized
from toolkit.errors import DataError, Problem
from toolkit.models.vision_model import VisionModel
from toolkit.preflight.report import Report
from toolkit.preflight.size_checks import shown
from toolkit.samples import Batch, Sample

WORK = 40e9
"""Multiply-accumulates that one forward pass of the batch may take; with the backward pass some four seconds on two cores."""


_WORTH = 0.9
"""A picture is not made smaller for less than this."""


class Extent(NamedTuple):
    """images: how many of a batch. scale: of their sides."""

    images: int
    scale: float


class Shrink(Transform):
    """Scales a sample by a factor to the nearest legal size of at least `least` pixels a side."""

    def __init__(self, scale: float, rule: SizeRule, least: int) -> None:
        self.scale, self.rule, self.least = scale, rule, least

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        height, width = (self._side(side) for side in sample.image.shape[:2])
        return resized(sample, height, width)

    def _side(self, side: int) -> int:
        smaller = self.rule.next_legal(max(self.least, round(side * self.scale)))
        return min(side, smaller)


def affordable(batch_size: int, macs: float, work: float = WORK) -> Extent:
    """How much of a batch is tried when an image costs `macs`: fewer images first, but two where there are; then smaller.

    >>> affordable(16, 10e9, 60e9)
    Extent(images=6, scale=1.0)
    >>> affordable(16, 120e9, 60e9)
    Extent(images=2, scale=0.5)
    """
    if batch_size * macs <= work:
        return Extent(batch_size, 1.0)
    images = min(batch_size, max(2, int(work // macs)))
    scale = math.sqrt(work / (images * macs))
    return Extent(images, scale if scale < _WORTH else 1.0)


def try_batch(
    report: Report,
    model: VisionModel,
    dataset: Dataset,
    transforms: Sequence[Transform],
    batch_size: int,
    seed: int,
    groups: np.ndarray | None = None,
    draws: Draws | None = None,
    macs: float = 0.0,
) -> None:
    """The first training batch forward and backward, or part of it where all of it would take too long, and says so.

    groups, draws: as `train_loader` takes them. macs: multiply-accumulates of an image.

    Raises DataError when a term of the loss or a gradient is not finite, and
    whatever UserError reading, augmenting and the parts raise.
    """
    extent = affordable(batch_size, macs)
    if extent.scale < 1:
        least = 2 * max(model.backbone.spec.strides)
        transforms = [*transforms, Shrink(extent.scale, model.spec.sizes, least)]
    loader = train_loader(dataset, transforms, extent.images, seed, 0, 1, groups=groups, draws=draws)
    batch: Batch = next(iter(loader))
    torch.manual_seed(seed)
    losses = model.train().loss(batch)
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    if not all(math.isfinite(value) for value in values.values()):
        raise DataError(Problem("first batch", f"the loss is not finite: {text}", f"look at {', '.join(batch.names)}"))
    torch.stack(list(losses.values())).sum().backward()
    _finite_gradients(model, batch)
    size = (batch.images.shape[-2], batch.images.shape[-1])
    report.facts.append(f"batch   {len(batch.names)} images of {shown(size)}, forward and backward; loss {text}")
    report.statistics["loss"] = values
    report.statistics["batch"] = {"images": len(batch.names), "of": batch_size, "size": list(size)}
    if extent.images < batch_size or extent.scale < 1:
        smaller = f", at {extent.scale:.0%} of their size" if extent.scale < 1 else ""
        report.facts.append(f"        only {extent.images} of {batch_size} images{smaller}, to be done in seconds")


def _finite_gradients(model: VisionModel, batch: Batch) -> None:
    named = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    if not named:
        return
    sums = torch.stack([gradient.abs().sum() for _, gradient in named])
    bad = (~sums.isfinite()).nonzero()
    if len(bad):
        names = [named[place][0] for place in bad[:, 0].tolist()]
        message = f"the gradient of {len(names)} parameters is not finite, first of {names[0]}"
        raise DataError(Problem("first batch", message, f"look at {', '.join(batch.names)}"))
