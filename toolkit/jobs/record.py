"""From what was counted to the folder of a record: what was measured, which images belong together, every number, files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.coco_results import box_entries
from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.data.images.fingerprint import look_texts
from toolkit.data.splits.groups import image_groups, joined, look_alikes
from toolkit.data.splits.names import image_finder
from toolkit.errors import ConfigError, DataError, Problem
from toolkit.files import replacing
from toolkit.labels import ClassTable
from toolkit.report.evaluation.page import write_evaluation_page
from toolkit.report.evaluation.pictures import Reader
from toolkit.results.diagnosis import diagnosis
from toolkit.results.image_rows import ImageRow
from toolkit.results.image_table import Makers, image_numbers, write_image_table
from toolkit.results.intervals import interval_said, interval_sections
from toolkit.results.record import NUMBERS_FILE, Record
from toolkit.results.tags import Tags, slices
from toolkit.samples import Detections, ImageScores, LabelMap, Prediction

RESULTS_FILE = "results.json"
TASKS: dict[type[Prediction], str] = {
    LabelMap: "segmentation",
    Detections: "detection",
    ImageScores: "classification",
}
"""Task of a record by what its first evaluator takes; all others are "values"."""


_MOST_ROWS = 20_000
"""Rows of a record up to which evaluators without quick intervals are evaluated again for every resample."""


class Measured(NamedTuple):
    """What an evaluation gives a record.

    Args:
        rows: what was counted for each image.
        metrics: every number by name, None where undefined.
        more: further sections of plain JSON: losses, images that were skipped.
    """

    rows: Sequence[ImageRow]
    metrics: Mapping[str, float | None]
    more: Mapping[str, Any]


class Source(NamedTuple):
    """Who answered, so that no record replaces one of somebody else's answers.

    Args:
        weights: SHA-256 of the model's tensors; None for predictions from files.
        predictions: SHA-256 of those files; None for a model.
        options: what was changed of the config the weights carry, {key: value}.
        checkpoint: file that the weights, or predictions, come from.
        command: the command that measures it again, in words.
    """

    weights: str | None
    predictions: str | None
    options: Mapping[str, Any]
    checkpoint: str
    command: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """The fields that a record has by these names; those that are None are left out."""
        fields = {**self._asdict(), "options": dict(self.options), "command": list(self.command)}
        return {name: value for name, value in fields.items() if value is not None}


def about_evaluation(
    evaluators: Sequence[Evaluator], classes: ClassTable, split: str, source: Source
) -> dict[str, Any]:
    """What a record says of an evaluation, but for its groups and machine.

    Args:
        evaluators: those that counted; the first decides what is best.
        classes: names, colours and ids of the classes.
        split: name of the split, or of the images that were measured.
        source: who answered: a model with its options, or files.
    """
    judge = evaluators[0]
    return {
        "task": TASKS.get(judge.takes, "values") if judge.takes is not None else "values",
        "classes": list(classes.names),
        "palette": [list(color) for color in classes.palette],
        "category_ids": list(classes.ids),
        "split": split,
        "metric": judge.metric,
        "larger_is_better": judge.larger_is_better,
        "percent": judge.percent,
        "evaluators": [EVALUATORS.name_of(type(evaluator)) for evaluator in evaluators],
        "excluded": list(judge.excluded),
        **source.as_json(),
    }


def made_record(measured: Measured, about: Mapping[str, Any], rule: str | None, tags: Tags | None = None) -> Record:
    """The record of an evaluation with its groups and tags; the only number so far is what was measured.

    Args:
        measured: what the evaluation counted, image by image, and its numbers.
        about: what it says of itself.
        rule: which images belong together (`data.group`); None joins near copies.
        tags: values of each image by its name, or None.
    """
    record = Record.of(measured.rows, about)
    record, how = grouped(record, rule)
    record = replace(record, about={**about, "images": len(record), "groups": how})
    if tags is not None:
        record = replace(record, tags=tags.of(record.images, image_finder(record.images)))
    return record.with_numbers(metrics=dict(measured.metrics), **measured.more)


def grouped(record: Record, rule: str | None) -> tuple[Record, dict[str, Any]]:
    """The record with its groups, and how they were made: {"rule", "how", "number", "largest", "notes"}.

    Args:
        record: what was counted for each of the images.
        rule: "folder", a CSV file, or a pattern in the name; None joins near copies, where it is known how images look.
    """
    notes: list[str] = []
    if rule is not None:
        found = image_groups(record.images, rule)
        groups, how, notes = tuple(found.names), f"data.group: {rule}", found.notes
    elif (looks := look_texts(record.arrays)) is not None:
        first = joined(len(record), look_alikes(*looks))
        groups = tuple(record.images[place] for place in first.tolist())
        how = "images that are near copies of one another, by perceptual hash"
    else:
        groups, how = record.images, "each image by itself: it is not known how they look"
    sizes = [groups.count(name) for name in set(groups)] if len(set(groups)) < len(groups) else [1]
    told = {"rule": rule, "how": how, "number": len(set(groups)), "largest": max(sizes), "notes": list(notes)}
    return replace(record, groups=groups), told


def with_all_numbers(record: Record, makers: Makers, points: Mapping[str, Any] | None = None) -> Record:
    """The record with every section of numbers that its arrays give: all that a page or a table shows.

    Args:
        record: what was counted, with its groups, tags and metrics.
        makers: each gives a fresh evaluator, in the order of those that counted.
        points: operating points that the weights keep, as their metadata holds them; None chooses some.
    """
    sections = interval_sections_of(record, makers) | diagnosis(record, makers[0] if makers else None, points)
    if record.about["split"] == "train":  # what a model has learnt from it does not doubt
        sections.pop("worklist", None)
    if record.tags:
        sections["slices"] = slices(record, makers)
    return record.with_numbers(**sections)


def interval_sections_of(record: Record, makers: Makers) -> dict[str, Any]:
    """The sections `intervals` and `within`; a number that would have to be evaluated too often has no interval, and says so.

    Args:
        record: what was counted, with its groups and metrics.
        makers: each gives a fresh evaluator, in the order of those that counted.
    """
    rows = max((len(array) for array in record.arrays.values()), default=0)
    once = np.ones((1, len(record)), np.int64)
    quick = [make for make in makers if rows <= _MOST_ROWS or make().at_weights(record.arrays, once) is not None]
    found = interval_sections(record, quick)
    drawn = found.get("intervals", {})
    why = f"no interval: it has no quick way, and {rows:,} rows are too many to evaluate 1,000 times"
    left = {"low": None, "high": None, "groups": len(set(record.groups)), "why": why}
    metrics = record.numbers["metrics"].items()
    return {**found, "intervals": {name: drawn.get(name) or {"value": value, **left} for name, value in metrics}}


def refuse_other_record(folder: Path, source: Source) -> None:
    """Raises ConfigError when a folder holds the record of other weights, other predictions or other options."""
    if not (folder / NUMBERS_FILE).exists():
        return
    remedy = "write this one elsewhere with --out DIR"
    try:
        about = Record.read(folder).about
    except DataError as error:
        raise ConfigError(problem.advising(f"{remedy}, or remove it") for problem in error.problems) from error
    differing = [
        f"{word} ({_short(about.get(key))}, not {_short(value)})"
        for key, word, value in (
            ("weights", "other weights", source.weights),
            ("predictions", "other predictions", source.predictions),
            ("options", "other options", dict(source.options)),
        )
        if about.get(key) != value
    ]
    if differing:
        raise ConfigError(Problem(folder, f"holds the record of {' and '.join(differing)}", remedy))


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={item}" for key, item in value.items()) or "none"
    return str(value)[:12] if value is not None else "none"


def write_record(folder: Path, record: Record, makers: Makers, read: Reader | None, run: Path | None) -> None:
    """Writes `per_image.csv`, `results.json` (boxes), `record.npz`, `metrics.json` and, of these, the page `report.html`.

    Each file appears whole, by rename. Raises UserError when the disk refuses.

    Args:
        folder: where the files go; it is made where it is missing.
        record: what was counted, with all numbers.
        makers: each gives a fresh evaluator of those that counted.
        read: reads an image by its name, for the pictures of the page; None leaves them out.
        run: folder of the run, for the curves and the config on the page.
    """
    write_image_table(folder, record, image_numbers(record, makers))
    if "detection_scores" in record.arrays:
        write_results(folder, box_results(record))
    record.write(folder)
    write_evaluation_page(folder, read, run)


def told_of_record(record: Record, folder: Path | None, notes: Sequence[str]) -> dict[str, Any]:
    """What an evaluation hands on of its record.

    Args:
        record: of the evaluation, with all its numbers.
        folder: where it was written, or None.
        notes: what the data left out or took for granted; what its groups say comes behind.
    """
    return {
        "intervals": record.numbers.get("intervals", {}),
        "within": record.numbers.get("within"),
        "interval_said": interval_said(record),
        "baseline": record.numbers.get("baseline", []),
        "groups": record.about["groups"],
        "metric": record.about["metric"],
        "percent": record.about["percent"],
        "notes": [*notes, *record.about["groups"]["notes"]],
        "record": str(folder) if folder is not None else None,
    }


def box_results(record: Record) -> list[dict[str, Any]]:
    """The detections of a record as COCO results, with the ids of its images and, where there are any, its categories."""
    table = ClassTable(record.classes, (), tuple(record.about.get("category_ids") or ()))
    ends = record.arrays["detection_counts"].cumsum().tolist()
    boxes, scores, labels = (record.arrays[f"detection_{name}"] for name in ("boxes", "scores", "labels"))
    entries = []
    for image_id, start, end in zip(record.image_ids.tolist(), [0, *ends], ends, strict=False):
        entries += box_entries(boxes[start:end], scores[start:end], labels[start:end], image_id, table)
    return entries


def write_results(folder: Path, entries: Sequence[Mapping[str, Any]]) -> Path:
    """Writes entries of COCO's results format as `results.json`, one a line; its path."""
    with replacing(folder / RESULTS_FILE, durable=False) as part, part.open("w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n" if entries else "[]\n")
    return folder / RESULTS_FILE


def makers_of(build: Callable[[], Sequence[Evaluator]]) -> Makers:
    """A maker for each of the evaluators that `build` gives."""
    return [partial(_built, build, place) for place in range(len(build()))]


def _built(build: Callable[[], Sequence[Evaluator]], place: int) -> Evaluator:
    return build()[place]
