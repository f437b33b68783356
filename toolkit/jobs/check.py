"""Is it all right? What can be known of config, data, parts and the training's numbers without waiting for hours.

Stages hand on what they found: `look_at_data` what is on disk, `try_parts` the model without weights on images of the
size they will have, `plan` the numbers of the training, `first_batch` a real step. A training asks the same stages, with
the model and data it has (`quick_check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolkit.config.sections import Config
from toolkit.config.validate import SECTIONS
from toolkit.contracts import Dataset
from toolkit.data.loading.loader import eval_loader, train_loader
from toolkit.engine.loggers import missing_packages
from toolkit.engine.prepare import check_parts
from toolkit.errors import ConfigError, Problem
from toolkit.jobs.agreement import (
    check_class_weights,
)
from toolkit.jobs.build import build_optimizer_rule, build_schedule
from toolkit.jobs.build_data import aspect_groups_of, build_transforms, draws_of
from toolkit.jobs.check_first_batch import first_batch, first_evaluation, forecast_memory
from toolkit.jobs.check_parts import meta_model, try_model, try_parts, whole_batch
from toolkit.jobs.data_folders import data_folders
from toolkit.jobs.data_of_a_run import compare_with_run
from toolkit.jobs.epochs import epochs_said, with_steps
from toolkit.jobs.look_at_data import CHOOSES_BEST, Seen, look_at_data
from toolkit.jobs.picture_cache import cache_size
from toolkit.labels import ClassTable
from toolkit.models.vision_model import VisionModel
from toolkit.ops.native import without_kernels
from toolkit.preflight.data.copies import check_shared_images
from toolkit.preflight.data.readings import note_readings
from toolkit.preflight.data.scan import scan
from toolkit.preflight.findings import Finding, Report
from toolkit.preflight.model.plan import Plan, check_plan
from toolkit.preflight.preview import refuse_data_folder, write_preview
from toolkit.report.check.page import check_page, marks_of
from toolkit.report.page import write_page

_TRAIN_SAMPLES, _VAL_SAMPLES = 24, 12
"""Samples in a preview."""


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
        0 if config.data.batch_size == "auto" else whole_batch(config),
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


def _preview(config: Config, seen: Seen, report: Report, model: VisionModel | None, folder: Path) -> None:
    """Pictures of the first training batches, exactly those of a training, and of the first validation samples."""
    refuse_data_folder(folder, seen.datasets.values())
    if seen.table is None:
        return
    written: list[Path] = []
    if "train" in seen.datasets and "train" in seen.transforms:
        train, size = seen.datasets["train"], whole_batch(config)
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
