"""The first stage of a check: the data sets of a config, their transforms and classes, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from toolkit.config.sections import Config
from toolkit.config.validate import SECTIONS
from toolkit.contracts import Dataset, Transform
from toolkit.data.faults.skipped import skipped_text
from toolkit.data.splits.lists import SplitNames
from toolkit.data.transforms.pipeline import refuse_for_evaluation
from toolkit.errors import ConfigError, UserError
from toolkit.jobs.agreement import (
    check_class_weights,
)
from toolkit.jobs.bad_samples import leniently, skipping
from toolkit.jobs.build import build_evaluators
from toolkit.jobs.build_data import (
    build_transforms,
    build_whole,
    class_lists_differ,
    classes_of,
    division_of,
    identity_of_split,
    joined_by_name,
)
from toolkit.jobs.division import division_said
from toolkit.labels import ClassTable
from toolkit.preflight.data.copies import check_shared_images
from toolkit.preflight.data.faults import note_constructor_faults
from toolkit.preflight.data.readings import note_readings
from toolkit.preflight.data.scan import ScanSplit
from toolkit.preflight.findings import Finding, Report

SPLITS = ("train", "val", "test")

CHOOSES_BEST = "no weights are kept as the best, only the last (last.safetensors)"
"""What happens when nothing can be measured."""


class Seen(NamedTuple):
    """What is known of the data.

    Args:
        datasets: data sets by split, those that could be built.
        transforms: transforms by split, those that could be built.
        table: names and colours of the labels, None without classes.
        scans: what a full check reads, one a split.
    """

    datasets: Mapping[str, Dataset]
    transforms: Mapping[str, Sequence[Transform]]
    table: ClassTable | None
    scans: Sequence[ScanSplit] = ()


def look_at_data(config: Config, report: Report, valid: frozenset[str] = SECTIONS) -> Seen:
    """Data sets, transforms and classes of every split that is valid.

    Args:
        config: the whole config, checked but not built.
        report: takes what is found, as findings.
        valid: names of the sections that have no mistake.
    """
    datasets: dict[str, Dataset] = {}
    transforms: dict[str, list[Transform]] = {}
    scans: list[ScanSplit] = []
    parts = report.attempt("division", division_of, config) if "data.train" in valid else None
    if config.data.split is not None and parts is None:
        valid = valid - {f"data.{split}" for split in SPLITS}
    for split in SPLITS:
        if f"data.{split}" not in valid or getattr(config.data, split) is None:
            continue
        dataset = _dataset(config, split, report, scans, parts)
        if dataset is not None:
            datasets[split] = dataset
            report.note("data", f"{split}: {_counted(dataset)}")
        built = report.attempt("transforms", build_transforms, config, split)
        if built is not None:
            transforms[split] = built
            if split != "train":
                report.attempt("transforms", refuse_for_evaluation, built, f"data.{split}.transforms")
    if parts is not None and "train" in transforms:
        for line in division_said(config, parts, transforms["train"]):
            report.note(*line.split(maxsplit=1))
    datasets = joined_by_name(config, datasets)
    check_shared_images(report, datasets, allowed=config.data.shared_images == "allow")
    note_readings(report, datasets, CHOOSES_BEST)
    return Seen(datasets, transforms, _classes(config, datasets, report, valid), scans)


def _dataset(
    config: Config, split: str, report: Report, scans: list[ScanSplit], parts: SplitNames | None
) -> Dataset | None:
    """The samples that can be used; those that are wrong are findings, or left out where the config says so.

    Training does not touch the test images, which many a copy of a data set lacks: that is no error.
    """
    try:
        whole, faults = leniently(lambda: build_whole(config, split, parts))
    except UserError as error:
        for problem in error.problems:
            if split == "test":
                report.warn("test_data", problem.advising("training does not need it"))
            else:
                report.add(Finding("data", problem), 2 if isinstance(error, ConfigError) else 1)
        return None
    skip, identity = config.data.on_bad == "skip", identity_of_split(config, split, whole)
    scans.append(ScanSplit(split, whole, faults, identity, skip))
    if not skip:
        note_constructor_faults(report, split, whole, faults)
        return whole
    return report.attempt("data", skipping, whole, faults, identity, split, config.data.workers)


def _classes(
    config: Config, datasets: Mapping[str, Dataset], report: Report, valid: frozenset[str]
) -> ClassTable | None:
    """The class table, and whether every split has it; the numbers that weigh the classes."""
    train = datasets.get("train")
    if config.data.classes is None and train is None:
        return None
    table = report.attempt("classes", classes_of, config, train)
    if table is None:
        return None
    report.note("classes", f"{len(table.names)}: {_listed(table.names)}")
    for split, dataset in datasets.items():
        if tuple(dataset.classes) != table.names:
            problem = class_lists_differ(f"data.{split}.dataset", dataset.classes, table.names)
            report.add(Finding("classes", problem), 2)
    report.attempt("evaluators", build_evaluators, config, table.names)
    if "model" in valid:
        check_class_weights(report, config, table.names)
    return table


def _counted(dataset: Dataset) -> str:
    return "\n".join(filter(None, (dataset.describe(), skipped_text(dataset))))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
