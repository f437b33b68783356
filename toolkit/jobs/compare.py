"""Is one prediction of the same images better than another? The records of runs, held against the first."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import toolkit.evaluators  # registers the evaluators  # noqa: F401
from toolkit.contracts import EVALUATORS, Evaluator
from toolkit.errors import ConfigError, DataError, Problem, listed
from toolkit.files import replacing
from toolkit.jobs.record_folders import filled_in, names_of, read_records
from toolkit.results.bootstrap import FEWEST_GROUPS, Numbers
from toolkit.results.comparison import ChangedImage, Comparison, differences, most_changed
from toolkit.results.image_table import image_numbers
from toolkit.results.intervals import Makers, numbers_of
from toolkit.results.neighbours import neighbours
from toolkit.results.record import Record
from toolkit.results.same_images import in_order_of, refuse_others

COMPARISON_FILE = "comparison.json"


class Alike(NamedTuple):
    """Records of the same images, made ready to be compared.

    Args:
        names: what each record is called in tables and sentences.
        folders: the folder that each record was read from.
        records: the records, their images in the order of the first.
        makers: give the evaluators whose numbers have no quick way.
        notes: what a reader must know, a sentence each.
    """

    names: list[str]
    folders: list[Path]
    records: list[Record]
    makers: Makers
    notes: list[str]

    @property
    def metric(self) -> str:
        """The deciding metric."""
        return str(self.records[0].about["metric"])

    def numbers(self, groups: np.ndarray | None = None) -> list[Numbers]:
        """The numbers of each record, in the groups of the first or in others (N,)."""
        drawn = self.records[0].group_numbers if groups is None else groups
        found = [numbers_of(record, self.makers, drawn) for record in self.records]
        empty = [name for name, numbers in zip(self.names, found, strict=True) if numbers is None]
        if empty:
            raise DataError([Problem(name, "its record holds nothing that can be compared") for name in empty])
        return [numbers for numbers in found if numbers is not None]

    def facts(self) -> dict[str, Any]:
        """What was compared, as plain JSON."""
        first = self.records[0]
        return {
            "split": first.about.get("split"),
            "count": len(first),
            "groups": len(set(first.groups)),
            "classes": list(first.classes),
            "percent": bool(first.about.get("percent", True)),
            "records": [str(folder) for folder in self.folders],
            "weights": [record.about.get("weights") for record in self.records],
        }

    def changed(self, sides: Sequence[Sequence[int]]) -> list[ChangedImage]:
        """Images by how much the deciding metric changed. sides: the records whose mean stands for each prediction."""
        values = [image_values(record, self.metric, self.makers) for record in self.records]
        return most_changed(self.records[0].images, [np.mean([values[one] for one in side], axis=0) for side in sides])


def compare_runs(paths: Sequence[str | Path], split: str | None = None) -> Comparison:
    """Every run against the first on the same images.

    Raises UserError, with everything that is wrong, for runs without a record, of other images, splits or annotations.

    Args:
        paths: run folders or folders of records; patterns such as "runs/a*" are filled in.
        split: of the runs; None takes val, or the only one that a run has.
    """
    runs = filled_in(paths)
    if len(runs) < 2:
        told = "names one run" if runs else "names no run"
        raise ConfigError(
            Problem("toolkit compare", told, "name two or more, the first is what the others are held against")
        )
    alike = read_alike(runs, split)
    first, numbers = alike.records[0], alike.numbers()
    within = None
    if numbers[0].groups < FEWEST_GROUPS and (blocks := neighbours(first.images, first.groups)):
        inside = alike.numbers(blocks.numbers)
        within = {"blocks": inside[0].groups, "said": blocks.said, "differences": differences(inside, fewest=2)}
    groups = f" in {numbers[0].groups} groups" if numbers[0].groups != len(first) else ""
    said = (
        f"measured: the sample of images ({len(first)} images{groups}), with these very weights. Another training of the "
        "same recipe may differ by more: `toolkit compare --seeds` speaks of recipes"
    )
    return Comparison(
        measured="images",
        said=said,
        names=tuple(alike.names),
        metric=alike.metric,
        differences=differences(numbers),
        within=within,
        images=alike.changed([[place] for place in range(len(runs))]),
        facts=alike.facts(),
        notes=alike.notes,
    )


def read_alike(paths: Sequence[str | Path], split: str | None) -> Alike:
    """The records of runs, when they can be compared. Raises UserError with everything that is wrong.

    paths: run folders or folders of records. split: of the runs; None takes val, or the only one that a run has.
    """
    found = read_records(paths, split)
    names, records = names_of(paths), [record for _, record in found]
    notes = refuse_others(records, names)
    first = records[0]
    records = [first, *(in_order_of(record, first) for record in records[1:])]
    makers = _makers(first)
    numbers = numbers_of(first, makers)
    lost = [name for name in first.numbers.get("metrics", {}) if numbers is None or name not in numbers.names]
    if lost:
        notes.append(f"not compared, because the record does not say how they are made: {listed(lost)}")
    weights: dict[Any, list[str]] = {}
    for name, record in zip(names, records, strict=True):
        weights.setdefault(record.about.get("weights"), []).append(name)
    notes += [f"{listed(same)} have the same weights" for key, same in weights.items() if key and len(same) > 1]
    return Alike(names, [folder for folder, _ in found], records, makers, notes)


def write_comparison(comparison: Comparison, folder: str | Path) -> Path:
    """Writes `comparison.json` into a folder, made if need be; its path."""
    file = Path(folder) / COMPARISON_FILE
    with replacing(file, durable=False) as part:
        text = json.dumps(comparison.as_json(), indent=1, ensure_ascii=False, allow_nan=False)
        part.write_text(text + "\n", encoding="utf-8")
    return file


def image_values(record: Record, metric: str, makers: Makers) -> np.ndarray:
    """(N,) a metric of every image alone, nan where undefined or not known.

    Args:
        record: what an evaluation counted, image by image.
        metric: name of the metric, as an evaluator gives it.
        makers: give fresh evaluators, one of which has it.
    """
    for make in makers:
        if metric in make().compute():
            found = [numbers[metric] for numbers in image_numbers(record, [make])]
            return np.array([np.nan if value is None else value for value in found], np.float64)
    return np.full(len(record), np.nan)


def _makers(record: Record) -> Makers:
    """Makers of a record's evaluators, of those that with their usual options give its numbers again."""
    found = [_maker(name, record.about) for name in record.about.get("evaluators") or ()]
    return [make for make in found if make is not None and _same(make, record)]


def _maker(name: str, about: Mapping[str, Any]) -> Callable[[], Evaluator] | None:
    if name not in EVALUATORS.names():
        return None

    def make() -> Evaluator:
        evaluator = EVALUATORS.find(name)(list(about["classes"]))  # type: ignore[call-arg]
        if about.get("excluded"):
            evaluator.exclude(about["excluded"])
        return evaluator

    return make


def _same(make: Callable[[], Evaluator], record: Record) -> bool:
    """Whether an evaluator with the usual options gives the numbers that were recorded."""
    evaluator = make()
    evaluator.merge(record.arrays)
    metrics = record.numbers.get("metrics", {})
    for name, value in evaluator.compute().items():
        known = metrics.get(name)
        if (value is None) != (known is None) or (value is not None and not np.isclose(value, known, rtol=1e-9)):
            return False
    return True
