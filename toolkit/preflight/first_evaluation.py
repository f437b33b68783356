"""One validation sample predicted and measured: evaluators that do not fit the head are found before the training."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from toolkit.contracts import Evaluator, Transform
from toolkit.data.transforms.pipeline import Pipeline
from toolkit.errors import ConfigError, Problem, UserError
from toolkit.models.vision_model import VisionModel
from toolkit.preflight.first_batch import Shrink
from toolkit.samples import Sample, Truth, collate

WORK = 20e9
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

    evaluators: with their names. sample: as read. The model's mode is left as it was. Raises ConfigError for every
    evaluator that cannot use what the head predicts or the data set annotates, and what `predict` raises.
    """
    sample = Pipeline(transforms)(sample, 0)
    side = 2 * max(model.backbone.spec.strides)
    scale = side / min(sample.image.shape[:2])
    sample = Shrink(scale, model.spec.sizes, side)(sample, 0)
    height, width = sample.image.shape[:2]
    sample = sample._replace(original_size=(height, width))
    if macs_a_pixel * (height + 2 * model.border) * (width + 2 * model.border) > WORK:
        return False
    batch = collate([sample], [Truth.of(sample)])
    training = model.training
    try:
        with torch.random.fork_rng(devices=[]):
            predictions = model.eval().predict(batch)
    except torch.OutOfMemoryError:  # the evaluation itself explains it
        return False
    finally:
        model.train(training)
    problems = []
    for name, evaluator in evaluators:
        try:
            evaluator.update(predictions, batch.truths)
        except UserError as error:  # noqa: PERF203 - a handful
            problems += [_located(name, problem) for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return True


def _located(name: str, problem: Problem) -> Problem:
    remedy = problem.suggestion or "name an evaluator that fits the head and the data (toolkit list evaluators)"
    where = "evaluate.evaluators"
    message = problem.message if f"'{name}'" in problem.message else f"'{name}': {problem.message}"
    return Problem(where, message, remedy)
