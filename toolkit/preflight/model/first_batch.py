"""One batch of real training samples through the model, forward and backward; one validation sample measured."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from toolkit.contracts import Dataset, Evaluator, SizeRule, Transform
from toolkit.data.loading.loader import train_loader
from toolkit.data.loading.sampling import Draws
from toolkit.data.transforms.augment import resized
from toolkit.data.transforms.pipeline import Pipeline
from toolkit.engine.prepare import LossModule
from toolkit.engine.process import OneProcess
from toolkit.engine.settings import TrainSettings
from toolkit.engine.step import TrainingStep
from toolkit.errors import ConfigError, DataError, ImageSizeError, Problem, UserError
from toolkit.models.vision_model import VisionModel
from toolkit.preflight.findings import Report
from toolkit.preflight.model.sizes import shown
from toolkit.samples import Batch, Prediction, Sample, Truth, collate

WORK = 8e9
"""Multiply-accumulates that one forward pass of the batch may take; with the backward pass a second or two of
processor, and some hundred MiB."""


_WORTH = 0.9
"""A picture is not made smaller for less than this."""


class Extent(NamedTuple):
    """images: how many of a batch. scale: of their sides."""

    images: int
    scale: float


class Shrink(Transform):
    """Scales a sample by a factor to the nearest legal size of at least `least` pixels a side.

    Args:
        scale: factor of height and width, above 0 and at most 1.
        rule: sizes that the model takes.
        least: shortest side that is left, in pixels.
    """

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

    Args:
        batch_size: number of images of the config's batch.
        macs: multiply-adds that one whole image costs.
        work: multiply-adds that the trial may cost in all.

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
) -> float | None:
    """The first training batch forward and backward, or part of it where all of it would take too long, and says so.

    Raises DataError when a term of the loss or a gradient is not finite, and
    whatever UserError reading, augmenting and the parts raise.

    Args:
        report: takes what is found, and the loss as a statistic.
        model: the model, which is left as it was.
        dataset: the data set that is trained on.
        transforms: transforms of the training, in their order.
        batch_size: number of images of the config's batch.
        seed: the config's seed, which chooses the batch.
        groups: (N,) group of each sample, as `train_loader` takes them.
        draws: which sample comes when, as `train_loader` takes it.
        macs: multiply-adds of one image; 0 where unknown.
    """
    extent = affordable(batch_size, macs)
    if extent.scale < 1:
        least = 2 * max(model.backbone.spec.strides)
        transforms = [*transforms, Shrink(extent.scale, model.spec.sizes, least)]
    loader = train_loader(dataset, transforms, extent.images, seed, 0, 1, groups=groups, draws=draws)
    batch: Batch = next(iter(loader))
    began = time.perf_counter()
    step = TrainingStep(OneProcess(), LossModule(model.train()), None, TrainSettings(steps=1))
    losses = step.losses(batch, seed)
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    if not all(math.isfinite(value) for value in values.values()):
        raise DataError(Problem("first batch", f"the loss is not finite: {text}", f"look at {', '.join(batch.names)}"))
    step.backward(losses)
    seconds = time.perf_counter() - began
    _finite_gradients(model, batch)
    size = (batch.images.shape[-2], batch.images.shape[-1])
    report.note("batch", f"{len(batch.names)} images of {shown(size)}, forward and backward; loss {text}")
    report.statistics["loss"] = values
    report.statistics["batch"] = {"images": len(batch.names), "of": batch_size, "size": list(size)}
    if extent.images < batch_size or extent.scale < 1:
        smaller = f", at {extent.scale:.0%} of their size" if extent.scale < 1 else ""
        report.note("", f"only {extent.images} of {batch_size} images{smaller}, to be done in seconds")
    return seconds / (3 * macs * extent.images * extent.scale**2) if macs else None


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


EVALUATION_WORK = 20e9
"""Multiply-accumulates that the forward pass may take, about half a second on two cores; else it is left out."""


def try_evaluation(
    model: VisionModel,
    evaluators: Sequence[tuple[str, Evaluator]],
    sample: Sample,
    transforms: Sequence[Transform],
    macs_a_pixel: float = 0.0,
) -> bool:
    """Predicts a small copy of a sample and hands it to every evaluator; False when that would take too long
    or does not fit into memory.

    Raises ConfigError for every evaluator that cannot use what the head predicts or the data set annotates, and what
    `predict` raises.

    Args:
        model: the model, whose mode is left as it was.
        evaluators: the config's evaluators with their names.
        sample: a sample of the split, as read.
        transforms: transforms of the evaluation, in their order.
        macs_a_pixel: multiply-adds for a pixel of the image; 0 where unknown.
    """
    whole = Pipeline(transforms)(sample, 0)
    side = 2 * max(model.backbone.spec.strides)
    small = Shrink(side / min(whole.image.shape[:2]), model.spec.sizes, side)(whole, 0)
    training, scored = model.training, model.head.with_scores
    model.head.with_scores = scored or any(evaluator.wants_scores for _, evaluator in evaluators)
    try:
        with torch.random.fork_rng(devices=[]):
            found = _predicted(model.eval(), small, whole, macs_a_pixel)
    except torch.OutOfMemoryError:  # the evaluation itself explains it
        return False
    finally:
        model.train(training)
        model.head.with_scores = scored
    if found is None:
        return False
    batch, predictions = found
    problems = []
    for name, evaluator in evaluators:
        try:
            evaluator.update(predictions, batch.truths)
        except UserError as error:  # noqa: PERF203 - a handful
            problems += [_located(name, problem) for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return True


def _predicted(
    model: VisionModel, small: Sample, whole: Sample, macs_a_pixel: float
) -> tuple[Batch, list[Prediction]] | None:
    """The small copy and its prediction, or the whole sample's where the head takes no other size; None: too much work."""
    for sample in (small, whole):
        height, width = sample.image.shape[:2]
        sample = sample._replace(original_size=(height, width))
        if macs_a_pixel * (height + 2 * model.border) * (width + 2 * model.border) > EVALUATION_WORK:
            return None
        batch = collate([sample], [Truth.of(sample)])
        try:
            return batch, model.predict(batch)
        except ImageSizeError:
            if sample.image is whole.image:
                raise
    return None


def _located(name: str, problem: Problem) -> Problem:
    remedy = problem.suggestion or "name an evaluator that fits the head and the data (toolkit list evaluators)"
    where = "evaluate.evaluators"
    message = problem.message if f"'{name}'" in problem.message else f"'{name}': {problem.message}"
    return Problem(where, message, remedy)
