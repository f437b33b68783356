"""Is it all right? What can be known of config, data, parts and the training's numbers without waiting for hours.

Stages hand on what they found: `look_at_data` what is on disk, `try_parts` the model without weights on images of the
size they will have, `plan` the numbers of the training, `first_batch` a real step. A training asks the same stages, with
the model and data it has (`quick_check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from toolkit.config.sections import Config
from toolkit.config.validate import SECTIONS
from toolkit.contracts import Dataset
from toolkit.data.loading.loader import eval_loader, train_loader
from toolkit.engine.loggers import missing_packages
from toolkit.engine.prepare import check_parts
from toolkit.engine.process import pick_device, precision_on
from toolkit.errors import ConfigError, Problem, UserError
from toolkit.jobs.agreement import (
    check_channels,
    check_class_weights,
    check_neck,
    check_pretrained_channels,
    check_start,
)
from toolkit.jobs.build import (
    aspect_groups_of,
    build_evaluators,
    build_model,
    build_optimizer_rule,
    build_part,
    build_schedule,
    build_transforms,
    draws_of,
    with_class_weights,
)
from toolkit.jobs.data_folders import data_folders
from toolkit.jobs.data_of_a_run import compare_with_run
from toolkit.jobs.epochs import epochs_said, with_steps
from toolkit.jobs.look_at_data import CHOOSES_BEST, Seen, look_at_data
from toolkit.jobs.picture_cache import cache_size
from toolkit.jobs.restore import initialise
from toolkit.labels import ClassTable
from toolkit.layers.shapes_only import shapes_only
from toolkit.models.transfer import Transfer
from toolkit.models.vision_model import VisionModel
from toolkit.ops.native import without_kernels
from toolkit.preflight.data.copies import check_shared_images
from toolkit.preflight.data.readings import note_readings
from toolkit.preflight.data.scan import scan
from toolkit.preflight.findings import Finding, Report
from toolkit.preflight.model.anchors import check_anchors
from toolkit.preflight.model.first_batch import try_batch, try_evaluation
from toolkit.preflight.model.forecasts import Amounts, note_memory, note_time
from toolkit.preflight.model.geometry_trace import boxes_seen, first_traces, traces_of_some, usual_size
from toolkit.preflight.model.meta_pass import MetaPass, PartNames, run_meta_pass
from toolkit.preflight.model.plan import Plan, check_plan
from toolkit.preflight.model.sizes import check_sizes, compare_with_validation, model_sizes
from toolkit.preflight.preview import refuse_data_folder, write_preview
from toolkit.report.check.page import check_page, marks_of
from toolkit.report.page import write_page
from toolkit.samples import Sample
from toolkit.weights.downloads import NeedsDownloadError, without_downloads

_TRAIN_SAMPLES, _VAL_SAMPLES = 24, 12
"""Samples in a preview."""


class Tried(NamedTuple):
    """What the parts have shown without numbers.

    Args:
        meta: of the pass on the meta device; None when the parts do not fit.
        size: (height, width) that most training images have.
        validation: sizes of some validation images, the largest among them.
    """

    meta: MetaPass | None
    size: tuple[int, int]
    validation: tuple[tuple[int, int], ...]


def check_config(
    config: Config,
    *,
    full: bool = False,
    preview: str | Path | None = None,
    page: str | Path | None = None,
    against: str | Path | None = None,
    valid: frozenset[str] = SECTIONS,
    mistakes: Sequence[Problem] = (),
) -> Report:
    """Parts, data, one against the other, and one training batch of a config that is itself well-formed.

    Args:
        config: checked config; sections that are not in `valid` hold placeholders and are left alone.
        full: whether every sample of every split is read as well; minutes for large data sets.
        preview: folder for pictures of what the model will see; None draws none.
        page: HTML file that the report is written to; None writes none. Nothing else is written.
        against: run folder, to say what of the data is otherwise than it saw; None compares with none.
        valid: sections to look at, when others are at fault (see `valid_sections`).
        mistakes: what is wrong in those others, told first.
    """
    report = Report()
    for problem in mistakes:
        report.add(Finding("config", problem), 2)
    seen = look_at_data(config, report, valid)
    if config.train.epochs is not None:
        asked, config = config, with_steps(config, len(seen.datasets.get("train", ())))
        for line in epochs_said(asked, config):
            report.note(*line.split(maxsplit=1))
    model = try_model(config, seen, report) if "model" in valid else None
    tried = try_parts(config, seen, report, model) if model is not None else None
    if "train" in valid:
        plan(config, seen, report, model)
    _measured_at_all(config, report, valid)
    lacking = without_kernels()
    if lacking is not None:
        report.note("kernels", str(lacking))
    if valid == SECTIONS:
        first_batch(config, seen, report, tried)
    if against is not None:
        report.attempt("against", compare_with_run, report, Path(against), seen.datasets, thorough=full)
    if preview is not None:
        report.attempt("preview", _preview, config, seen, report, model, Path(preview))
        if "preview" not in report.statistics:
            report.note("preview", "not written, or not whole: see the errors; data.on_bad=skip draws what can be read")
    if not full:
        _say_what_was_read(config, seen, report)
    if full:
        scan(report, seen.scans, None if config.data.workers else 0)
    if mistakes:  # to be mended first, whatever else there is
        report.exit_code = 2
    if page is not None:
        report.attempt("page", _write_page, config, seen, report, Path(page))
    return report


def _say_what_was_read(config: Config, seen: Seen, report: Report) -> None:
    """What a quick check has opened, and what it has not."""
    if not seen.datasets or config.data.on_bad == "skip":  # then every sample was read
        return
    total = sum(map(len, seen.datasets.values()))
    batch = report.statistics.get("batch", {}).get("images", 0)
    opened = "the first image of each split" + (f" and {batch} of a training batch" if batch else "")
    report.note("read", f"lists and annotation files, {opened}, of {total}; the pixels of the others only with --full")


def quick_check(config: Config, model: VisionModel, datasets: dict[str, Dataset]) -> Report:
    """The part of the check that takes no batch, for a training that has its model and data at hand. Adds a second.

    The search for better anchors is left to `check_config`.

    Args:
        config: of the training, class weights as numbers.
        model: with its weights; its mode and the random state are left as they are.
        datasets: by split, without the samples that are left out.
    """
    report = Report()
    table = ClassTable(model.classes, model.palette)
    seen = Seen(datasets, {split: build_transforms(config, split) for split in datasets}, table)
    check_shared_images(report, datasets, allowed=config.data.shared_images == "allow")
    note_readings(report, datasets, CHOOSES_BEST)
    check_class_weights(report, config, model.classes)
    outline = meta_model(config, table)
    tried = try_parts(config, seen, report, outline, suggest=False) if outline is not None else None
    plan(config, seen, report, model)
    first_evaluation(config, seen, report, model, tried)
    if tried is not None:
        forecast_memory(config, seen, report, model, tried)
    return report


def try_model(config: Config, seen: Seen, report: Report) -> VisionModel | None:
    """The model without weights, built on the meta device; None when its parts do not fit, or no classes are known.

    Args:
        config: names the parts and their arguments.
        seen: the classes that the data says, for the head.
        report: takes what does not fit as errors, the model's size as a fact.
    """
    model = report.attempt("parts", meta_model, config, seen.table)
    if model is not None:
        count = sum(parameter.numel() for parameter in model.parameters())
        report.note("model", f"{count:,} parameters; the head reads {model.spec.describe()}")
    return model


def meta_model(config: Config, table: ClassTable | None) -> VisionModel | None:
    """The model without weights or memory. Without classes only backbone and neck are built, and nothing is returned.

    Raises PartsError for parts that do not fit, ConfigError for arguments they refuse.
    """
    with shapes_only():
        if table is not None:
            return build_model(config, pretrained=False, classes=table)
        backbone = build_part(config.model.backbone, pretrained=False)
        if config.model.neck is not None:
            build_part(config.model.neck, pretrained=False, spec=backbone.spec)
    return None


def part_names(config: Config) -> PartNames:
    """`backbone 'resnet'` ..., with their places in the config."""
    section = config.model
    neck = f"model.neck '{section.neck.name}'" if section.neck is not None else ""
    return PartNames(f"model.backbone '{section.backbone.name}'", neck, f"model.head '{section.head.name}'")


def try_parts(config: Config, seen: Seen, report: Report, model: VisionModel, *, suggest: bool = True) -> Tried:
    """A model against the data: channels, image sizes, anchors; its parts on one another at the size they will get.

    Args:
        config: whose parts the model is made of.
        seen: what is known of the data; splits that could not be built are passed over.
        report: takes what does not fit as errors, what may surprise as warnings.
        model: the net on the meta device, without numbers.
        suggest: whether better anchors are searched for; takes a second or two.
    """
    train, transforms = seen.datasets.get("train"), seen.transforms.get("train")
    like = report.attempt("sample", lambda: train[0]) if train is not None and len(train) else None
    size = usual_size(transforms or [], model.in_channels)
    check_neck(report, model)
    check_pretrained_channels(report, config.model.backbone, model.in_channels)
    if train is not None and like is not None:
        check_channels(report, config, model, like)
        if transforms is not None:
            size = _sizes(config, seen, report, like, model) or size
            layout = model.head.anchor_layout()
            if layout is not None and like.boxes is not None:
                boxes = boxes_seen(train, transforms, config.seed)
                check_anchors(report, boxes, layout, model.classes, suggest=suggest)
    validation = _validation_sizes(seen, report)
    if validation and like is not None:
        pads = model.illegal_sizes == "pad"
        compare_with_validation(report, size, validation, model.spec.sizes, pads=pads)
    meta = report.attempt("parts", run_meta_pass, model, part_names(config), size, _own_batch(config))
    return Tried(meta, size, tuple(validation))


def _sizes(config: Config, seen: Seen, report: Report, like: Sample, model: VisionModel) -> tuple[int, int] | None:
    """Image sizes against the model; the size that most training images have."""
    train, batch_size = seen.datasets["train"], _batch_size(config)
    groups = report.attempt("group_by_aspect", aspect_groups_of, config, train)
    traces = first_traces(report, train, seen.transforms["train"], config.seed, like, batch_size, groups)
    if not traces:
        return None
    size = traces[0][0].after
    check_sizes(report, traces, model_sizes(model, size), batch_size)
    return size


def _validation_sizes(seen: Seen, report: Report) -> list[tuple[int, int]]:
    """Sizes of some validation images as an evaluation sees them, the largest among them."""
    val, steps = seen.datasets.get("val"), seen.transforms.get("val")
    if val is None or steps is None or not len(val):
        return []
    like = report.attempt("sample", lambda: val[0])
    return [] if like is None else [trace.after for trace in traces_of_some(report, val, steps, like)]


def plan(config: Config, seen: Seen, report: Report, model: VisionModel | None) -> None:
    """The `train` section: what it builds, what of it contradicts itself, and what will surprise.

    Args:
        config: whose `train` section is looked at.
        seen: how many images each split has.
        report: takes contradictions as errors, what may surprise as warnings.
        model: the net on any device, or None where its parts do not fit.
    """
    report.attempt("settings", check_settings, config)
    if config.data.cache != "none" and seen.datasets:
        report.attempt("cache", _cache, config, seen, report)
    rule = report.attempt("optimizer", build_optimizer_rule, config)
    report.attempt("schedule", build_schedule, config)
    if rule is None:
        return
    images = {split: len(dataset) for split, dataset in seen.datasets.items()}
    numbers = Plan(
        config.train,
        config.train.optimizer.name,
        rule.lr,
        images.get("train", 0),
        images.get("val", 0) if config.evaluate.evaluators else 0,
        0 if config.data.batch_size == "auto" else _batch_size(config),
        config.data.workers,
    )
    check_plan(report, numbers, model)
    if model is not None:
        report.attempt("trained_parts", check_parts, model, rule.lr, config.train)


def _cache(config: Config, seen: Seen, report: Report) -> None:
    report.note("cache", cache_size(config, seen.datasets))


def check_settings(config: Config) -> None:
    """Raises ConfigError with every setting of `train` that cannot do what it says."""
    problems = [*_patience(config), *missing_packages(config.train.loggers)]
    if problems:
        raise ConfigError(problems)


def _patience(config: Config) -> list[Problem]:
    """Early stopping counts evaluations, so there have to be some."""
    if config.train.patience is None:
        return []
    lacking = {
        "data.val": config.data.val is None,
        "evaluate.evaluators": not config.evaluate.evaluators,
        "train.evaluate_every": config.train.evaluate_every is None,
    }
    names = [name for name, is_lacking in lacking.items() if is_lacking]
    if not names:
        return []
    message = "counts evaluations during training, but there are none"
    return [Problem("train.patience", message, f"set {', '.join(names)}, or train.patience=null")]


def _measured_at_all(config: Config, report: Report, valid: frozenset[str]) -> None:
    if {"data.val", "data.test"} <= valid and config.data.val is None and config.data.test is None:
        report.warn("no_validation", Problem("data.val", "there is no validation split: nothing will be measured"))
    elif "evaluate" in valid and not config.evaluate.evaluators:
        report.warn("no_evaluator", Problem("evaluate.evaluators", "no evaluator: nothing will be measured"))


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
        pace = try_batch(report, model, train, transforms, _batch_size(config), config.seed, groups, draws, macs)
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
        _own_batch(config),
        config.train.steps,
        _batch_size(config) * config.train.accumulate,
        tried.validation if measured else (),
        len(seen.datasets["val"]) if measured else 0,
        config.evaluate.batch_size or _own_batch(config),
        tried.meta.macs if tried.meta else 0.0,
    )


def _preview(config: Config, seen: Seen, report: Report, model: VisionModel | None, folder: Path) -> None:
    """Pictures of the first training batches, exactly those of a training, and of the first validation samples."""
    refuse_data_folder(folder, seen.datasets.values())
    if seen.table is None:
        return
    written: list[Path] = []
    if "train" in seen.datasets and "train" in seen.transforms:
        train, size = seen.datasets["train"], _batch_size(config)
        groups, draws = aspect_groups_of(config, train), draws_of(config, train)
        count = -(-_TRAIN_SAMPLES // size)
        loader = train_loader(train, seen.transforms["train"], size, config.seed, 0, count, groups=groups, draws=draws)
        headline = f"training, the first batches of {size} (seed {config.seed})"
        rule = [model.spec.sizes] if model is not None else []
        written += write_preview(loader, seen.table, folder, "train", headline, _TRAIN_SAMPLES, *rule)
    if "val" in seen.datasets and "val" in seen.transforms:
        loader = eval_loader(seen.datasets["val"], seen.transforms["val"], config.data.batch_images)
        written += write_preview(loader, seen.table, folder, "val", "validation, in order", _VAL_SAMPLES)
    report.note("preview", f"{', '.join(path.name for path in written)} in {folder.absolute()}")
    report.statistics["preview"] = [str(path.absolute()) for path in written]


def _write_page(config: Config, seen: Seen, report: Report, path: Path) -> Path:
    """The page of a report. Raises UserError when it cannot be written, or would lie in a data folder."""
    names, palette = (seen.table.names, seen.table.palette) if seen.table is not None else ((), ())
    text = check_page(report, config.name or "check", names, palette, marks_of(seen.datasets, names))
    return write_page(path, text, data_folders(config, seen.datasets))


def _processes(config: Config) -> int:
    """How many share a batch."""
    return config.train.devices * config.train.nodes


def _own_batch(config: Config) -> int:
    """Images of one process's batch."""
    return max(1, _batch_size(config) // _processes(config))


def _batch_size(config: Config) -> int:
    """Images of a batch, of all processes together."""
    size: Any = config.data.batch_size
    return size if isinstance(size, int) else 2 * _processes(config)  # "auto": found when training begins
