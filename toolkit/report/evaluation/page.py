"""The page of an evaluation, one file that opens anywhere: what was measured, how sure it is, where it fails, what to do.

All of it is read: from the record (metrics.json, record.npz), the table of images beside it, the metrics.jsonl and config.yaml
of the run, and, for pictures alone, from the data set. What is missing is left out, and the page says so at its end.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from toolkit.report.evaluation.drawings import (
    confusion_picture,
    mix_ups,
    precision_recall,
    read_training,
    training_curves,
)
from toolkit.report.evaluation.errors import error_split
from toolkit.report.evaluation.numbers import NumbersOf
from toolkit.report.evaluation.pictures import Reader, class_table, gallery_of, image_scores, worklist_of
from toolkit.report.gallery import Gallery
from toolkit.report.page import render, write_page
from toolkit.results.record import Record

PAGE_FILE = "report.html"


def write_evaluation_page(
    folder: str | Path, read: Reader | None = None, run: str | Path | None = None, never_in: Iterable[str | Path] = ()
) -> Path:
    """Writes `report.html` into the folder of a record; returns its path.

    Pictures of predictions are drawn from the small label maps and the boxes that the record keeps, so no model is needed.

    Args:
        folder: folder of the record, with metrics.json and record.npz.
        read: reads an image and its annotation by its name in the record; None leaves the pictures out.
        run: folder of the run, for the curves of its training and its config; None leaves both out.
        never_in: folders of the user's data, into which nothing is ever written.

    Raises DataError when there is no whole record, UserError when the page cannot be written.
    """
    folder = Path(folder)
    page = evaluation_page(Record.read(folder), folder, read, Path(run) if run is not None else None)
    return write_page(folder / PAGE_FILE, page, never_in)


def evaluation_page(record: Record, folder: Path, read: Reader | None = None, run: Path | None = None) -> str:
    """The whole page as HTML.

    Args:
        record: what was measured, with its numbers.
        folder: folder of the record, for its table of images.
        read: reads an image and its annotation by its name; None leaves the pictures out.
        run: folder of the run, for the curves of its training and its config.
    """
    about, sections = record.about, record.numbers
    metric = str(about.get("metric", ""))
    numbers = NumbersOf(sections, record.classes, percent=bool(about.get("percent", about.get("task") != "values")))
    events = read_training(run / "metrics.jsonl") if run is not None else []
    unit = (
        "pixels" if about.get("task") == "segmentation" else "boxes" if about.get("task") == "detection" else "images"
    )
    confusion, points = sections.get("confusion"), sections.get("operating_points") or {}
    gallery, work = _galleries(record, folder, metric, numbers, read)
    values: dict[str, Any] = {
        "about": about,
        "name": run.name if run is not None else Path(str(about.get("checkpoint") or folder)).stem,
        "images": len(record),
        "groups": len(set(record.groups)),
        "headline": numbers.shown(metric) if metric in numbers.metrics else None,
        "larger_is_better": bool(about.get("larger_is_better", True)),
        "baselines": numbers.baselines(metric),
        "tiles": [shown for shown in numbers.overall() if shown.name != metric],
        "table": numbers.class_table(),
        "advice": (sections.get("errors") or {}).get("advice"),
        "errors": error_split(sections.get("errors"), record.classes),
        "confusion": confusion_picture(confusion, unit) if confusion else None,
        "confusion_about": confusion or {},
        "mix_ups": mix_ups(confusion, unit) if confusion else [],
        "points": points,
        "precision_recall": precision_recall(points, class_table(record)),
        "calibration": sections.get("calibration"),
        "slices": numbers.slices(sections.get("slices"), metric),
        "inside": numbers.inside(metric),
        "metric": metric + (", %" if numbers.percent else ""),
        "grouped": _grouped(about),
        "training": training_curves(events, metric),
        "gallery": gallery,
        "work": work,
        "facts": _facts(about),
        "command": _command(about),
        "config": _text(run / "config.yaml") if run is not None else None,
    }
    return render("evaluation.html", left_out=_left_out(values, read), **values)


def _grouped(about: Mapping[str, Any]) -> str:
    """How images were put into groups, in words."""
    groups = about.get("groups")
    return str(groups.get("how", "")) if isinstance(groups, Mapping) else str(groups or "")


def _galleries(
    record: Record, folder: Path, metric: str, numbers: NumbersOf, read: Reader | None
) -> tuple[Gallery | None, Gallery | None]:
    if read is None:
        return None, None
    scores = image_scores(folder, metric, record.images)
    if not record.about.get("larger_is_better", True):
        scores = [-score if score is not None else None for score in scores]

    def words(score: float | None) -> str:
        if score is None:
            return f"{metric} –"
        shown = score if record.about.get("larger_is_better", True) else -score
        return f"{metric} {numbers.text(shown)}" + (" %" if numbers.percent else "")

    return gallery_of(record, scores, words, read), worklist_of(record, read)


def _left_out(values: Mapping[str, Any], read: Reader | None) -> list[str]:
    """A sentence for each section that there was nothing to make of."""
    words = {
        "errors": "the split of errors by kind: this task has none",
        "confusion": "the confusion matrix: this task has none",
        "precision_recall": "precision over recall: the record has no operating points (`toolkit thresholds` makes them)",
        "training": "curves of the training: there is no metrics.jsonl beside this evaluation",
        "work": "suspicious labels: none stand in the record",
    }
    found = [text for key, text in words.items() if not values[key]]
    if read is None:
        found.append("pictures: the images are not where they were")
    elif values["gallery"] is None or not values["gallery"].cards:
        found.append("pictures: no image could be read")
    return found


def _facts(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was measured, with what, on what machine, as rows of words."""
    keys = ("checkpoint", "weights", "split", "task", "metric", "excluded", "options")
    rows = [(key, about.get(key)) for key in keys]
    rows.append(("groups", _grouped(about)))
    rows += [(str(key), value) for key, value in (about.get("environment") or {}).items() if key != "command"]
    return [(key, _said(value)) for key, value in rows if value not in (None, "", [], {})]


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_said(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def _command(about: Mapping[str, Any]) -> str | None:
    """The command that measures it again."""
    command = about.get("command")
    return shlex.join(map(str, command)) if isinstance(command, (list, tuple)) else str(command) if command else None


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return None
