"""Score thresholds chosen on one split, measured on another, and kept with the weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from toolkit.errors import ConfigError, Problem
from toolkit.jobs.evaluate import RecordWishes, changed_options, record_folder, run_evaluation
from toolkit.jobs.report import write_report
from toolkit.jobs.restore import Restored, restore
from toolkit.models.weights import read_weights, set_metadata, tensors_digest
from toolkit.report.evaluation.page import PAGE_FILE
from toolkit.results.operating_points import ENTRY, kept, measured, operating_points, parsed_goal
from toolkit.results.record import NUMBERS_FILE, Record
from toolkit.samples import LabelMap


def choose_thresholds(
    checkpoint: str | Path,
    goal: str,
    split: str = "val",
    report_split: str | None = None,
    overrides: Sequence[str] = (),
    *,
    fallback: str | None = None,
    trust_code: bool = False,
) -> dict[str, Any]:
    """Chooses a threshold a class and writes them into the weights file's metadata; its tensors stay as they are.

    Records of these weights that the run has are used, others are made; the section `operating_points` of those in the run
    is then that of the new thresholds.

    Args:
        checkpoint: a weights file or a run folder, whose best weights are taken.
        goal: "f1", "precision=P", "recall=R" or "risk=A" (`operating_points.Goal`).
        split: name of the split that they are chosen on.
        report_split: name of the split that they are measured on; None is "test" where the config has one, else `split`.
        overrides: changes of the config it was trained with, each `key=value`.
        fallback: name of the class that pixels below their threshold become; None is no class (255).
        trust_code: whether parts of the form module:Class that the file names are imported, which runs their module.

    Returns:
        {"checkpoint", "goal", "split", "report_split", "fallback", "thresholds" {class: threshold or None}, "by_class" (the
        section's), "notes"}. Raises ConfigError for a bad goal, another fallback than a class, and a model without scores.
    """
    wanted = parsed_goal(goal)
    restored = restore(checkpoint, overrides, trust_code=trust_code)
    _refuse_fallback(restored, fallback)
    if report_split is None:
        report_split = "test" if restored.config.data.test is not None else split
    digest = tensors_digest(read_weights(restored.path)[0])

    def record_on(name: str) -> Record:
        return _record(restored, digest, name, overrides, trust_code)

    record = record_on(split)
    report = record if report_split == split else record_on(report_split)
    section = operating_points(record, wanted, report, fallback)
    if not section:
        message = f"{restored.path}: its answers on {split} have no scores, so there is nothing to choose"
        raise ConfigError(Problem("thresholds", message, "use it with detectors and label maps"))
    set_metadata(restored.path, ENTRY, kept(section))
    for name in dict.fromkeys((split, report_split)):
        _renew(restored, digest, name, section)
    return {
        "checkpoint": str(restored.path),
        "goal": str(wanted),
        "split": split,
        "report_split": report_split,
        "fallback": fallback,
        "thresholds": {name: entry["threshold"] for name, entry in section["by_class"].items()},
        "by_class": section["by_class"],
        "notes": _notes(section, split, report_split),
    }


def _refuse_fallback(restored: Restored, fallback: str | None) -> None:
    if fallback is None:
        return
    if restored.model.head.gives is not LabelMap:
        raise ConfigError(Problem("--fallback", "is for label maps, and this model gives none", "leave it out"))
    if fallback not in restored.model.classes:
        message = f"names no class of this model: '{fallback}'"
        raise ConfigError(Problem("--fallback", message, f"use one of {', '.join(restored.model.classes)}"))


def _record(restored: Restored, digest: str, split: str, overrides: Sequence[str], trust_code: bool) -> Record:
    """The record of the weights on a split: the run's own where it is of them, else a new one."""
    folder = record_folder(restored.path, split, None)
    found = _own_record(folder, digest, restored, overrides)
    if found is not None:
        return found
    if folder is not None and not (folder / NUMBERS_FILE).exists():
        run_evaluation(restored.path, split, overrides, trust_code=trust_code)
        return Record.read(folder)
    with TemporaryDirectory() as place:
        run_evaluation(restored.path, split, overrides, trust_code=trust_code, wishes=RecordWishes(out=place))
        return Record.read(place)


def _own_record(folder: Path | None, digest: str, restored: Restored, overrides: Sequence[str]) -> Record | None:
    """The record in a folder, where it is of these weights and options and holds scores."""
    if folder is None or not (folder / NUMBERS_FILE).exists():
        return None
    record = Record.read(folder)
    about, arrays = record.about, record.arrays
    same = about.get("weights") == digest and about.get("options") == changed_options(restored, overrides)
    return record if same and ("score_cells" in arrays or "detection_scores" in arrays) else None


def _renew(restored: Restored, digest: str, split: str, section: dict[str, Any]) -> None:
    """Puts the new thresholds into the run's record of a split, and on its page."""
    folder = record_folder(restored.path, split, None)
    record = _own_record(folder, digest, restored, ())
    if folder is not None and record is not None:
        record.with_numbers(**{ENTRY: measured(kept(section), record)}).write_numbers(folder)
        if (folder / PAGE_FILE).exists():
            write_report(folder)


def _notes(section: dict[str, Any], split: str, report_split: str) -> list[str]:
    notes = [f"{name} has no threshold: {entry['why']}" for name, entry in section["by_class"].items() if entry["why"]]
    if report_split == split:
        notes.append(f"measured on {split}, where they were chosen: on other images they give less (--report-split)")
    return notes
