"""The gate before training: what can be known about config, parts and data without waiting for hours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolkit.config.sections import Config
from toolkit.config.validate import SECTIONS
from toolkit.contracts import Dataset
from toolkit.data.loading.loader import eval_loader, train_loader
from toolkit.errors import Problem
from toolkit.jobs.agreement import check_class_weights
from toolkit.jobs.build import aspect_groups_of, build_transforms, draws_of
from toolkit.jobs.check_sheet import write_check_page
from toolkit.jobs.gate import CHOOSES_BEST, Gate
from toolkit.jobs.trial import meta_model
from toolkit.labels import ClassTable
from toolkit.models.vision_model import VisionModel
from toolkit.preflight.data.copies import check_same_files
from toolkit.preflight.data.readings import note_readings
from toolkit.preflight.data.scan import scan
from toolkit.preflight.findings import Finding, Report
from toolkit.preflight.preview import refuse_data_folder, write_preview

_TRAIN_SAMPLES, _VAL_SAMPLES = 24, 12
"""Samples in a preview."""


def check_config(
    config: Config,
    *,
    full: bool = False,
    preview: str | Path | None = None,
    page: str | Path | None = None,
    valid: frozenset[str] = SECTIONS,
    mistakes: Sequence[Problem] = (),
) -> Report:
    """Parts, data, one against the other, and one training batch of a config that is itself well-formed.

    full: every sample of every split is read as well. preview: a folder for pictures of what the model will see.
    page: an HTML file for the report; nothing else is written. valid: the sections to look at, when others are at
    fault (see `valid_sections`); mistakes: what is wrong in those.
    """
    report = Report()
    for problem in mistakes:
        report.add(Finding("config", problem), 2)
    gate = Gate(report, config, valid)
    gate.data()
    gate.classes()
    gate.parts()
    if {"data.val", "data.test"} <= valid and config.data.val is None and config.data.test is None:
        report.warn("no_validation", Problem("data.val", "there is no validation split: nothing will be measured"))
    elif "evaluate" in valid and not config.evaluate.evaluators:
        report.warn("no_evaluator", Problem("evaluate.evaluators", "no evaluator: nothing will be measured"))
    if valid == SECTIONS:
        gate.first_batch()
    if preview is not None:
        report.attempt("preview", _preview, gate, Path(preview))
        if "preview" not in report.statistics:
            report.note("preview", "not written, or not whole: see the errors; data.on_bad=skip draws what can be read")
    if full:
        scan(report, gate.scans, None if config.data.workers else 0)
    if mistakes:  # to be mended first, whatever else there is
        report.exit_code = 2
    if page is not None:
        report.attempt("page", write_check_page, report, Path(page), config, gate.table, gate.datasets)
    return report


def quick_check(config: Config, model: VisionModel, datasets: dict[str, Dataset]) -> Report:
    """The part of the check that takes no batch, for a training that has its model and data at hand. Adds a second.

    datasets: by split. The search for better anchors is left to `check_config`.
    """
    gate = Gate(Report(), config, SECTIONS)
    gate.datasets = dict(datasets)
    gate.table = ClassTable(model.classes, model.palette)
    for split in datasets:
        gate.transforms[split] = build_transforms(config, split)
    check_same_files(gate.report, datasets)
    note_readings(gate.report, datasets, CHOOSES_BEST)
    check_class_weights(gate.report, config, model.classes)
    gate.against_data(meta_model(config, gate.table), suggest=False)
    gate.plan(model)
    gate.first_evaluation(model)
    return gate.report


def _preview(gate: Gate, folder: Path) -> None:
    """Pictures of the first training batches, exactly those of a training, and of the first validation samples."""
    refuse_data_folder(folder, gate.datasets.values())
    data, seed, written = gate.config.data, gate.config.seed, []
    if gate.table is None:
        return
    if "train" in gate.datasets and "train" in gate.transforms:
        train = gate.datasets["train"]
        size = gate.batch_size
        loader = train_loader(
            train,
            gate.transforms["train"],
            size,
            seed,
            0,
            -(-_TRAIN_SAMPLES // size),
            groups=aspect_groups_of(gate.config, train),
            draws=draws_of(gate.config, train),
        )
        headline = f"training, the first batches of {size} (seed {seed})"
        written += write_preview(loader, gate.table, folder, "train", headline, _TRAIN_SAMPLES, gate.rule)
    if "val" in gate.datasets and "val" in gate.transforms:
        loader = eval_loader(
            gate.datasets["val"], gate.transforms["val"], data.batch_size if isinstance(data.batch_size, int) else 1
        )
        written += write_preview(loader, gate.table, folder, "val", "validation, in order", _VAL_SAMPLES)
    gate.report.note("preview", f"{', '.join(path.name for path in written)} in {folder.absolute()}")
    gate.report.statistics["preview"] = [str(path.absolute()) for path in written]
