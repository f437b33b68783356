"""What a page says of numbers: the headline, tiles, and the table of classes. Nothing is computed, all of it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Shown(NamedTuple):
    """A number as it is shown.

    Args:
        name: name of the metric, as in metrics.json.
        text: the value for people, with its unit.
        interval: its interval for people ("61.0 to 65.5"), or "".
        value: the value as it stands, for sorting; None where undefined.
        why: the sentence why there is no interval, or "".
    """

    name: str
    text: str
    interval: str
    value: float | None
    why: str = ""


class SliceRow(NamedTuple):
    """A metric of the images with one tag.

    Args:
        tag: name of the tag ("weather").
        value: what those images have ("night").
        images: how many images these are.
        groups: how many independent groups they come from.
        text: their metric for people, without its unit.
        number: the metric as it stands, for sorting; None where undefined.
    """

    tag: str
    value: str
    images: int
    groups: int
    text: str
    number: float | None


@dataclass(frozen=True)
class ClassTableRows:
    """The table of classes.

    Args:
        columns: names of the metrics, one a column.
        rows: name of a class and its numbers, None where a metric has none for it.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Shown | None, ...]], ...]


class NumbersOf:
    """The numbers of a record, ready to be shown: fractions in per cent, others as they are.

    Args:
        numbers: sections of the record: `metrics`, `intervals`, `within`, `baseline` and others.
        classes: names of the classes, for names of metrics of the form METRIC/CLASS.
        percent: whether the metrics are fractions.
    """

    def __init__(self, numbers: Mapping[str, Any], classes: Sequence[str], percent: bool) -> None:
        self.metrics: Mapping[str, float | None] = numbers.get("metrics") or {}
        self.intervals: Mapping[str, Mapping[str, Any]] = numbers.get("intervals") or {}
        self.within: Mapping[str, Any] = numbers.get("within") or {}
        self.baseline: Sequence[Mapping[str, Any]] = numbers.get("baseline") or ()
        self.classes, self.percent = tuple(classes), percent

    def shown(self, name: str) -> Shown:
        """One metric with its interval."""
        value = self.metrics.get(name)
        found = self.intervals.get(name) or {}
        interval = self._interval(found)
        unit = " %" if self.percent and value is not None else ""
        return Shown(name, self.text(value) + unit, interval, value, "" if interval else str(found.get("why") or ""))

    def inside(self, name: str) -> tuple[str, str] | None:
        """Where there are too few groups: the interval that the images themselves allow, and what it was made of."""
        interval = self._interval((self.within.get("intervals") or {}).get(name) or {})
        return (interval, str(self.within.get("said", ""))) if interval else None

    def _interval(self, found: Mapping[str, Any]) -> str:
        low, high = found.get("low"), found.get("high")
        return f"{self.text(low)} to {self.text(high)}" if low is not None and high is not None else ""

    def text(self, value: float | None) -> str:
        """A value for people, without its unit."""
        if value is None:
            return "–"
        return f"{100 * value:.2f}" if self.percent else f"{value:.4g}"

    def overall(self) -> list[Shown]:
        """Every metric that is not of one class, in the order of the evaluators."""
        return [self.shown(name) for name in self.metrics if "/" not in name]

    def class_table(self) -> ClassTableRows | None:
        """A row for each class, a column for each metric that has numbers of classes; None without any."""
        found: dict[str, dict[str, str]] = {}
        for name in self.metrics:
            metric, _, rest = name.partition("/")
            if rest in self.classes:
                found.setdefault(metric, {})[rest] = name
        if not found:
            return None
        rows = tuple(
            (name, tuple(self.shown(by_class[name]) if name in by_class else None for by_class in found.values()))
            for name in self.classes
        )
        return ClassTableRows(tuple(found), rows)

    def slices(self, section: Mapping[str, Any] | None, metric: str) -> list[SliceRow]:
        """A row for each value of each tag: images, groups and the metric of those images alone."""
        return [
            SliceRow(tag, value, part["images"], part["groups"], self.text(number), number)
            for tag, by_value in (section or {}).items()
            for value, part in by_value.items()
            for number in (part["metrics"].get(metric),)
        ]

    def baselines(self, metric: str) -> list[tuple[str, str]]:
        """Answers that need no model, and what they reach in a metric."""
        found = []
        for one in self.baseline:
            value = (one.get("metrics") or {}).get(metric)
            if value is not None:
                found.append((str(one.get("answer", "")), self.text(value) + (" %" if self.percent else "")))
        return found
