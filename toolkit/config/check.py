"""The gate before training: what can be known about config, parts and data without waiting for hours."""

from __future__ import annotations

import math
from typing import Any

import torch

from toolkit.config.build import (
    aspect_groups_of,
    build_dataset,
    build_evaluators,
    build_model,
    build_transforms,
    check_classes,
    classes_of,
    with_class_weights,
)
from toolkit.config.restore import initialise
from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.data.classes import ClassTable
from toolkit.data.loader import SeededDataset, eval_loader, train_loader
from toolkit.data.transforms import Pipeline
from toolkit.errors import DataError, Problem, UserError
from toolkit.models.vision_model import VisionModel
from toolkit.preflight.report import Finding, Report
from toolkit.progress import tracked
from toolkit.samples import Batch

_SPLITS = ("train", "val", "test")


def check_config(config: Config, *, full: bool = False) -> Report:
    """Parts, data and one training batch of a config that is itself well-formed.

    full: every sample of every split is read as well. Nothing is written.
    """
    report = Report()
    splits = [split for split in _SPLITS if getattr(config.data, split) is not None]
    datasets = {split: report.attempt("data", build_dataset, config, split) for split in splits if split != "test"}
    if "test" in splits:
        datasets["test"] = _test_split(report, config)
    present = {split: dataset for split, dataset in datasets.items() if dataset is not None}
    report.facts += [f"data    {split}: {_counted(dataset)}" for split, dataset in present.items()]
    table = (
        report.attempt("classes", classes_of, config, present.get("train")) if _has_classes(config, present) else None
    )
    if table is not None:
        report.facts.append(f"classes {len(table.names)}: {', '.join(table.names[:20])}")
        if "train" in present:
            config = report.attempt("class_weights", with_class_weights, config, present["train"]) or config
        torch.manual_seed(config.seed)
        model = report.attempt("parts", build_model, config, pretrained=False, classes=table)
        taken = report.attempt("init_from", initialise, model, config) if model is not None else None
        report.facts += [f"start   {line}" for line in (taken.lines() if taken else [])]
        if model is not None:
            _check_model(report, config, model, table, present)
    for split in splits:
        report.attempt("transforms", build_transforms, config, split)
    if full:
        for split, dataset in present.items():
            _read_all(report, dataset, split, config.data.workers)
    if not splits[1:]:
        report.warn("no_validation", Problem("data.val", "there is no validation split: nothing will be measured"))
    elif not config.evaluate.evaluators:
        report.warn("no_evaluator", Problem("evaluate.evaluators", "no evaluator: nothing will be measured"))
    return report


def _test_split(report: Report, config: Config) -> Dataset | None:
    """Training does not touch the test images, which many a copy of a data set lacks: that is no error."""
    try:
        return build_dataset(config, "test")
    except UserError as error:
        for problem in error.problems:
            report.warn("test_data", problem._replace(suggestion="training does not need it"))
        return None


def _counted(dataset: Dataset) -> str:
    describe = getattr(dataset, "describe", None)
    return str(describe()) if describe else f"{len(dataset)} images"


def _has_classes(config: Config, present: dict[str, Dataset]) -> bool:
    return config.data.classes is not None or "train" in present


def _check_model(
    report: Report, config: Config, model: VisionModel, table: ClassTable, present: dict[str, Any]
) -> None:
    """Parts that fit, classes that agree, and one batch forward and backward."""
    count = sum(parameter.numel() for parameter in model.parameters())
    report.facts.append(f"model   {count:,} parameters; the head reads {model.spec.describe()}")
    for split, dataset in present.items():
        report.attempt("classes", check_classes, dataset, model, split)
    report.attempt("evaluators", build_evaluators, config, table.names)
    if "val" in present:
        report.attempt("transforms", lambda: eval_loader(present["val"], build_transforms(config, "val")))
    if "train" in present and not report.errors:
        report.attempt("first_batch", _one_step, report, config, model, present["train"])


def _one_step(report: Report, config: Config, model: VisionModel, dataset: Dataset) -> None:
    transforms = build_transforms(config, "train")
    groups = aspect_groups_of(config, dataset)
    loader = train_loader(dataset, transforms, config.data.batch_size, config.seed, 0, 1, groups=groups)
    batch: Batch = next(iter(loader))
    torch.manual_seed(config.seed)
    losses = model.train().loss(batch)
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    if not all(math.isfinite(value) for value in values.values()):
        raise DataError(Problem("first batch", f"the loss is not finite: {shown}", f"look at {', '.join(batch.names)}"))
    torch.stack(list(losses.values())).sum().backward()
    report.facts.append(f"batch   {tuple(batch.images.shape)} images; loss {shown}")


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
