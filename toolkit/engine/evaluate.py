"""Evaluation: every image once, whatever the number of processes; evaluators see predictions and truths, nothing else.

The loss of validation images stands beside the metric: a number an image, whatever batch or process it was in.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.analysis.out_of_memory import memory_explained
from toolkit.contracts import Evaluator, FeaturePyramid
from toolkit.data.images.fingerprint import look_of
from toolkit.engine.interrupt import Interrupted, StopRequest
from toolkit.engine.process import gathered, on_device
from toolkit.errors import ConfigError, Problem
from toolkit.models.vision_model import VisionModel
from toolkit.progress import Progress
from toolkit.results.image_rows import ImageRow, in_order
from toolkit.results.small_maps import packed_map
from toolkit.samples import Batch, LabelMap, Prediction, Truth, by_size

_REMEDIES = ("set evaluate.batch_size=1", "smaller images in data.val.transforms (labels are compared at full size)")


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation measured.

    Args:
        metrics: numbers of the evaluators by name, as fractions; None where undefined.
        tables: title, header and rows of each table.
        images: number of images that were measured.
        seconds: seconds that it took in all.
        losses: "loss" and "loss/TERM", means over images, None where not finite; empty when they were not asked for.
        unlabelled: images without anything to compare with, which are in no loss's mean.
        constant: what the first evaluator says of its numbers, see `Evaluator`.
        never_right: what the first evaluator says of its numbers, see `Evaluator`.
        rows: what was counted for each image, of all processes, in the order of names; () when it was not asked for.
    """

    metrics: dict[str, float | None]
    tables: list[tuple[str, list[str], list[list[str]]]]
    images: int
    seconds: float
    losses: dict[str, float | None] = field(default_factory=dict)
    unlabelled: int = 0
    constant: tuple[str, float] | None = None
    never_right: tuple[str, ...] = ()
    rows: tuple[ImageRow, ...] = ()


def evaluate(
    fabric: Any,
    model: VisionModel,
    loader: Iterable[Batch],
    evaluators: Sequence[Evaluator],
    *,
    images: int,
    stop: StopRequest | None = None,
    with_loss: bool = False,
    with_rows: bool = False,
    with_looks: bool = False,
    predicted: Callable[[Sequence[Prediction], Sequence[Truth]], None] | None = None,
    answer: Callable[[Batch], list[Prediction]] | None = None,
) -> Evaluation:
    """Runs a model over a loader whose batches carry truths, and returns the merged numbers (the same in every process).

    Images of unequal sizes are never padded to one: of a batch, those of equal sizes go through the model together, as
    in a prediction, so that the numbers do not depend on the batch size.

    Args:
        fabric: a launched Fabric: device, precision and processes.
        model: the model that is measured, on Fabric's device.
        loader: batches that carry truths (`eval_loader`).
        evaluators: evaluators that have counted nothing yet.
        images: how many images there are, for the progress.
        stop: looked at between batches; raises Interrupted, in every process when one was asked.
        with_loss: whether the loss of each image is measured too, see `ValidationLoss`.
        with_rows: whether what is counted for each image is kept too, for a record; dense predictions then have scores.
        with_looks: whether the rows say what each image looks like, for finding near copies.
        predicted: is handed every image's prediction with its truth, to write it to a file.
        answer: predicts in place of `model.predict`: tile by tile, say.
    """
    began = time.monotonic()
    flags = {module: module.training for module in model.modules()}
    scored = model.head.with_scores
    model.head.with_scores = scored or with_rows or any(evaluator.wants_scores for evaluator in evaluators)
    model.eval()
    loss = ValidationLoss() if with_loss else None
    predict = answer or model.predict
    seen = 0
    rows: list[ImageRow] = []
    try:
        with Progress("evaluate", images, "img", shown=fabric.is_global_zero) as progress, torch.inference_mode():
            for batch in loader:
                if stop is not None and stop.requested:
                    break
                predictions: dict[int, Prediction] = {}
                for places, equal in by_size(batch):
                    there = on_device(fabric, equal._replace(truths=()))
                    with fabric.autocast(), memory_explained("evaluation", model, _REMEDIES):
                        answers = predict_and_measure(model, there, loss, answer) if loss else predict(there)
                    predictions |= zip(places, answers, strict=True)
                found = [predictions[place] for place in range(batch.count)]
                if predicted is not None:
                    predicted(found, batch.truths)
                if with_rows:
                    looks = looks_of(batch) if with_looks else None
                    rows += counted_rows(evaluators, found, batch.truths, looks)
                else:
                    for evaluator in evaluators:
                        evaluator.update(found, batch.truths)
                seen += len(batch.names)
                progress.update(min(seen * fabric.world_size, images))
    finally:
        _restore(flags)
        model.head.with_scores = scored
    if stop is not None and stop.agreed(fabric):
        raise Interrupted
    rows = _merge(fabric, evaluators, loss, rows)
    metrics: dict[str, float | None] = {}
    for evaluator in evaluators:
        numbers = evaluator.compute()
        doubled = sorted(set(numbers) & set(metrics))
        if doubled:
            raise ConfigError(Problem("evaluate.evaluators", f"two evaluators both give {', '.join(doubled)}"))
        metrics.update(numbers)
    tables = [table for evaluator in evaluators for table in evaluator.tables()]
    first = evaluators[0] if evaluators else None
    return Evaluation(
        metrics,
        tables,
        images,
        time.monotonic() - began,
        loss.compute() if loss else {},
        loss.unlabelled if loss else 0,
        constant=first.constant_answer() if first else None,
        never_right=tuple(first.never_right()) if first else (),
        rows=tuple(in_order(rows)),
    )


def looks_of(batch: Batch) -> list[dict[str, np.ndarray]]:
    """What each image of a batch looks like as the model is shown it, see `look_of`."""
    images = batch.images.cpu().permute(0, 2, 3, 1).numpy()
    sizes = batch.sizes.tolist()
    return [look_of(image[:height, :width]) for image, (height, width) in zip(images, sizes, strict=True)]


def counted_rows(
    evaluators: Sequence[Evaluator],
    predictions: Sequence[Prediction],
    truths: Sequence[Truth],
    looks: Sequence[Mapping[str, np.ndarray]] | None = None,
) -> list[ImageRow]:
    """Lets every evaluator count some images, and gives what they counted for each. Of one name the first array stays.

    Predicted label maps are kept too, small, for pictures (`results/small_maps.py`).

    Args:
        evaluators: count the images, each in its way.
        predictions: what a model, or somebody's file, says of each image.
        truths: the annotations of the same images.
        looks: what each image looks like (`look_of`), or None.
    """
    by_evaluator = [evaluator.rows(predictions, truths) for evaluator in evaluators]
    found = []
    for number, truth in enumerate(truths):
        arrays = dict(looks[number]) if looks is not None else {}
        for rows in by_evaluator:
            arrays = {**rows[number], **arrays}
        prediction = predictions[number]
        if isinstance(prediction, LabelMap):
            arrays |= packed_map(prediction.numpy())
        found.append(ImageRow(truth.name, truth.image_id, truth.size, arrays))
    return found


def _restore(flags: dict[nn.Module, bool]) -> None:
    for module, training in flags.items():
        module.training = training


def _merge(
    fabric: Any, evaluators: Sequence[Evaluator], loss: ValidationLoss | None, rows: list[ImageRow]
) -> list[ImageRow]:
    """Every process gets every other's state, merged in the order of ranks, and the rows of all."""
    if fabric.world_size == 1:
        return rows
    own = [evaluator.state() for evaluator in evaluators]
    states = gathered(fabric, (own, (loss.terms, loss.unlabelled) if loss else ({}, 0), rows))
    for rank, (others, (terms, unlabelled), _) in enumerate(states):
        if rank != fabric.global_rank:
            for evaluator, state in zip(evaluators, others, strict=True):
                evaluator.merge(state)
            if loss is not None:
                loss.merge(terms, unlabelled)
    return [row for *_, found in states for row in found]


class ValidationLoss:
    """Mean over images of the loss each would have alone, by term, in evaluation mode (no dropout, running statistics).

    A batch's own loss weighs pixels or boxes by what else is in the batch; a mean over images does not, so batch size,
    order and number of processes change nothing. Losses that draw (which boxes a detector looks at) draw by the
    image's name; the random state outside stays as it was.
    """

    def __init__(self) -> None:
        self.terms: dict[str, list[float]] = {}
        self.unlabelled = 0
        """Images without anything to compare with: their loss is undefined, and in no mean."""

    @torch.inference_mode()
    def add(self, model: VisionModel, pyramid: FeaturePyramid, batch: Batch) -> None:
        """Adds the images of a batch (on the model's device).

        Args:
            model: the model, in evaluation mode.
            pyramid: maps of the images, as `model.for_loss` gives them.
            batch: the images, as `model.for_loss` gives them.
        """
        devices = [batch.images.device] if batch.images.device.type == "cuda" else []
        found: dict[str, list[Tensor]] = {}
        has_targets = model.head.has_targets(batch)
        self.unlabelled += has_targets.count(False)
        with torch.random.fork_rng(devices):
            for number, name in enumerate(batch.names):
                if not has_targets[number]:
                    continue
                torch.manual_seed(zlib.crc32(name.encode()))
                one = _one(batch, number)
                divisors = model.head.loss_denominators(one)
                for term, value in model.head.loss(_one_map(pyramid, number), one).items():
                    if term in divisors and not divisors[term] > 0:  # labels of classes that weigh nothing
                        continue
                    found.setdefault(term, []).append(value.detach().float())
        for term, values in found.items():
            self.terms.setdefault(term, []).extend(torch.stack(values).tolist())

    def merge(self, terms: dict[str, list[float]], unlabelled: int) -> None:
        """Adds another process' images."""
        self.unlabelled += unlabelled
        for term, values in terms.items():
            self.terms.setdefault(term, []).extend(values)

    def compute(self) -> dict[str, float | None]:
        """The sum as "loss", and each "loss/TERM"; None where it is not finite, {} without images."""
        # The exact sum, rounded once, is the same in any order.
        means = {f"loss/{term}": _mean(values) for term, values in sorted(self.terms.items())}
        if not means:
            return {}
        numbers = {"loss": sum(means.values()), **means}
        return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan


def predict_and_measure(
    model: VisionModel,
    batch: Batch,
    loss: ValidationLoss,
    answer: Callable[[Batch], list[Prediction]] | None = None,
) -> list[Prediction]:
    """`model.predict(batch)`, with the loss of the same images added to `loss`.

    One pass serves both where prediction shows the net the images as they are: a legal size, no border to mirror, one
    sample. Otherwise the loss is a second pass, over what training would show the net.

    Args:
        model: the model, in evaluation mode.
        batch: images with their targets, on the model's device.
        loss: takes the loss of the images.
        answer: predicts in place of `model.predict`, in a pass of its own.
    """
    height, width = batch.images.shape[-2:]
    rule = model.spec.sizes
    legal = rule.allows(height) and rule.allows(width)
    as_they_are = answer is None and model.samples == 1 and model.border == 0 and legal
    with torch.inference_mode():
        pyramid, prepared = model.for_loss(batch)
        predictions = model.head.predict(pyramid, batch) if as_they_are else (answer or model.predict)(batch)
        loss.add(model, pyramid, prepared)
    return predictions


def _one_map(pyramid: FeaturePyramid, number: int) -> FeaturePyramid:
    maps = tuple(one[number : number + 1] for one in pyramid.maps)
    return FeaturePyramid(maps, pyramid.spec, pyramid.image_size)


def _one(batch: Batch, number: int) -> Batch:
    def part(value: Any) -> Any:
        if isinstance(value, (Tensor, Sequence)) and len(value):
            return value[number : number + 1]
        return value

    return Batch(*(part(value) for value in batch))
