"""The first batch and the first evaluation of a training, with numbers, and what both will take."""

from __future__ import annotations

import torch

from toolkit.config.sections import Config
from toolkit.engine.process import pick_device, precision_on
from toolkit.errors import UserError
from toolkit.jobs.agreement import (
    check_start,
)
from toolkit.jobs.build import build_evaluators, build_model, with_class_weights
from toolkit.jobs.build_data import aspect_groups_of, draws_of
from toolkit.jobs.check_parts import Tried, own_batch, whole_batch
from toolkit.jobs.look_at_data import Seen
from toolkit.jobs.restore import initialise
from toolkit.labels import ClassTable
from toolkit.models.transfer import Transfer
from toolkit.models.vision_model import VisionModel
from toolkit.preflight.findings import Report
from toolkit.preflight.model.first_batch import try_batch, try_evaluation
from toolkit.preflight.model.forecasts import Amounts, note_memory, note_time
from toolkit.weights.downloads import NeedsDownloadError, without_downloads


def first_batch(config: Config, seen: Seen, report: Report, tried: Tried | None) -> None:
    """Weights as the training will start with, and one batch forward and backward; only where all else is well.

    Args:
        config: names weights, batch size and seed.
        seen: the training data; without it nothing is done.
        report: takes what fails as errors, the losses as a fact.
        tried: what an image costs, for a smaller batch where all of it takes long; None for unknown.
    """
    if report.errors or seen.table is None or "train" not in seen.datasets:
        return
    train = seen.datasets["train"]
    config = report.attempt("class_weights", with_class_weights, config, train) or config
    torch.manual_seed(config.seed)
    model = report.attempt("weights", _with_weights, config, seen.table, report)
    if model is None:
        return
    taken = report.attempt("init_from", _initialised, model, config, report)
    if taken is not None:
        check_start(report, config, taken, seen.table.names)

    def attempt() -> None:
        groups, draws = aspect_groups_of(config, train), draws_of(config, train)
        transforms, macs = seen.transforms["train"], tried.meta.macs if tried and tried.meta else 0.0
        pace = try_batch(report, model, train, transforms, whole_batch(config), config.seed, groups, draws, macs)
        if pace is not None and tried is not None and config.train.device in ("auto", "cpu"):
            note_time(report, _amounts(config, seen, tried), pace)
            precision = precision_on(config.train, "cpu")
            if precision != "32-true":
                report.note("", f"timed in float32: the training's {precision} has a pace of its own")

    report.attempt("first_batch", attempt)
    first_evaluation(config, seen, report, model, tried)
    if tried is not None:
        forecast_memory(config, seen, report, model, tried)


def _with_weights(config: Config, table: ClassTable, report: Report) -> VisionModel:
    """The model with the weights it will start with, unless they have to be fetched first, which is said."""
    if config.model.init_from is None:
        try:
            with without_downloads():
                return build_model(config, classes=table)
        except NeedsDownloadError as error:
            report.note("start", str(error.problems[0]))
    return build_model(config, pretrained=False, classes=table)


def _initialised(model: VisionModel, config: Config, report: Report) -> Transfer | None:
    """What `model.init_from` gives, unless it has to be fetched first, which is said."""
    try:
        with without_downloads():
            return initialise(model, config)
    except NeedsDownloadError as error:
        report.note("start", str(error.problems[0]))
        return None


def first_evaluation(config: Config, seen: Seen, report: Report, model: VisionModel, tried: Tried | None) -> None:
    """One small validation image predicted by a model with numbers, and measured by every evaluator.

    Args:
        config: names the evaluators that are tried.
        seen: what is known of the data; without a validation split nothing is done.
        report: takes what an evaluator refuses as errors.
        model: with weights, on the CPU; its mode is left as it was.
        tried: what an image costs, for not trying what takes long; None for unknown.
    """
    val, transforms = seen.datasets.get("val"), seen.transforms.get("val")
    if report.errors or val is None or not len(val) or transforms is None:
        return
    sample = report.attempt("sample", lambda: val[0])
    built = report.attempt("evaluators", build_evaluators, config, model.classes)
    if sample is None or not built:
        return
    named = [(part.name, one) for part, one in zip(config.evaluate.evaluators, built, strict=True)]
    meta = tried.meta if tried else None
    cost = meta.macs / (meta.size[0] * meta.size[1]) if meta else 0.0
    report.attempt("evaluators", try_evaluation, model, named, sample, transforms, cost)


def forecast_memory(config: Config, seen: Seen, report: Report, model: VisionModel, tried: Tried) -> None:
    """What a step and an evaluation will take on the training's device; a device that is not here is a warning.

    Args:
        config: names device, batch and evaluation.
        seen: what is known of the data.
        report: takes the forecast as facts, too little memory as warnings.
        model: with numbers, on the CPU.
        tried: the sizes of training and validation images.
    """
    if report.errors:
        return
    try:
        device = torch.device(pick_device(config.train.device))
    except UserError as error:
        for problem in error.problems:
            report.warn("device", problem)
        return
    note_memory(report, model, _amounts(config, seen, tried), device)


def _amounts(config: Config, seen: Seen, tried: Tried) -> Amounts:
    measured = "val" in seen.datasets and bool(config.evaluate.evaluators)
    return Amounts(
        tried.size,
        own_batch(config),
        config.train.steps,
        whole_batch(config) * config.train.accumulate,
        tried.validation if measured else (),
        len(seen.datasets["val"]) if measured else 0,
        config.evaluate.batch_size or own_batch(config),
        tried.meta.macs if tried.meta else 0.0,
    )
