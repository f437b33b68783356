"""What was read otherwise than it stands, and whether there is anything to learn from and to measure by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from toolkit.contracts import Dataset
from toolkit.data.formats.boxed import BoxDataset
from toolkit.errors import Problem, UserError, did_you_mean
from toolkit.preflight.findings import Finding, Report
from toolkit.samples import IGNORE_INDEX, Sample


class BoxAmount(NamedTuple):
    """targets: boxes that are learned and found; crowds and difficult objects are neither. empty: images without one."""

    targets: int
    empty: int


def box_amount(dataset: Dataset) -> BoxAmount | None:
    """The boxes of a data set that knows them without opening an image; None for all others."""
    if not isinstance(dataset, BoxDataset):
        return None
    index = dataset.index
    owners = np.repeat(np.arange(len(index)), np.diff(index.offsets))[~(index.crowd | index.difficult)]
    return BoxAmount(len(owners), len(index) - len(np.unique(owners)))


def note_readings(report: Report, datasets: Mapping[str, Dataset], chooses_best: str = "") -> None:
    """Adds what the data sets say of how they were read, and findings for splits without a single target.

    Args:
        report: takes the facts and the findings.
        datasets: data sets by split; training data without a target is an error, other data a warning.
        chooses_best: which weights are kept as the best when validation measures nothing, in words.
    """
    absent = [set(dataset.absent_classes) for dataset in datasets.values()]
    for name in sorted(set.intersection(*absent)) if absent else []:
        named = (dataset.own_classes or dataset.classes for dataset in datasets.values())
        known = [word for names in named for word in names if not any(word in missing for missing in absent)]
        message = f"class '{name}' of the list is in the files of no split"
        report.add(Finding("absent_class", Problem("data.classes", message, did_you_mean(name, set(known)))))
    for split, dataset in datasets.items():
        for note in dataset.notes:
            report.warn("reading", Problem(f"data.{split}", note))
        if _has_target(dataset):
            continue
        amount = "no box" if isinstance(dataset, BoxDataset) else "no labelled pixel and no other target"
        message = f"{len(dataset)} images, {amount}"
        if split == "train":
            problem = Problem("data.train", f"{message}: there is nothing to learn", "are these the right annotations?")
            report.add(Finding("no_target", problem))
        else:
            best = f"; {chooses_best}" if split == "val" and chooses_best else ""
            report.warn("no_target", Problem(f"data.{split}", f"{message}: every metric will be undefined{best}"))


def _has_target(dataset: Dataset) -> bool:
    """Whether one sample at least has something to learn. Label maps are read until the first that has."""
    amount = box_amount(dataset)
    if amount is not None:
        return amount.targets > 0
    for index in range(len(dataset)):
        try:
            if _is_labelled(dataset[index]):
                return True
        except UserError:  # noqa: PERF203 - other checks name it; it may be what the targets stand in
            return True
    return False


def _is_labelled(sample: Sample) -> bool:
    if sample.label_map is not None:
        return bool((sample.label_map != IGNORE_INDEX).any())
    if sample.boxes is not None:
        return bool((~(sample.boxes.crowd | sample.boxes.difficult)).any())
    values = sample.value_map if sample.value_map is not None else sample.image_values
    return values is None or bool(np.isfinite(values).any())
