"""The gate before training: what can be known about config, parts and data without waiting for hours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from toolkit.config.build import build_transforms
from toolkit.config.gate import Gate
from toolkit.config.sections import Config
from toolkit.config.sound import SECTIONS
from toolkit.config.trial import meta_model
from toolkit.contracts import Dataset
from toolkit.data.classes import ClassTable
from toolkit.data.loader import SeededDataset
from toolkit.data.transforms import Pipeline
from toolkit.errors import Problem, UserError
from toolkit.models.vision_model import VisionModel
from toolkit.preflight.report import Finding, Report
from toolkit.progress import tracked


def check_config(
    config: Config, *, full: bool = False, preview: str | Path | None = None, sound: frozenset[str] = SECTIONS
) -> Report:
    """Parts, data, one against the other, and one training batch of a config that is itself well-formed.

    full: every sample of every split is read as well. preview: a folder for pictures of what the model will see;
    nothing else is written. sound: the sections to look at, when others are at fault (see `sound_sections`).
    """
    report = Report()
    gate = Gate(report, config, sound)
    gate.data()
    gate.classes()
    gate.parts()
    if {"data.val", "data.test"} <= sound and config.data.val is None and config.data.test is None:
        report.warn("no_validation", Problem("data.val", "there is no validation split: nothing will be measured"))
    elif "evaluate" in sound and not config.evaluate.evaluators:
        report.warn("no_evaluator", Problem("evaluate.evaluators", "no evaluator: nothing will be measured"))
    if sound == SECTIONS:
        gate.first_batch()
    if full:
        for split, dataset in gate.datasets.items():
            _read_all(report, dataset, split, config.data.workers)
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
    gate.against_data(meta_model(config, gate.table), suggest=False)
    gate.plan(model)
    return gate.report


def _read_all(report: Report, dataset: Dataset, split: str, workers: int) -> None:
    """Reads every sample, in `workers` processes, and notes each that cannot be read."""
    seeded = SeededDataset(dataset, Pipeline(()), 0)
    loader: Any = torch.utils.data.DataLoader(
        seeded, batch_size=None, sampler=[(0, index) for index in range(len(dataset))], num_workers=workers,
        collate_fn=_problems_only,
    )  # fmt: skip
    bad = 0
    for error in tracked(loader, f"read {split}", len(dataset), "img"):
        if isinstance(error, UserError):
            bad += 1
            for problem in error.problems:
                report.add(Finding("sample", problem))
    report.facts.append(f"read    {split}: {len(dataset)} samples, {bad} bad")


def _problems_only(item: Any) -> UserError | None:
    """Only what is wrong crosses from the worker."""
    return item if isinstance(item, UserError) else None
