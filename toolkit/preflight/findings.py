"""What a check found: errors, warnings, facts, tables and statistics, for a terminal, a page and a program alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar

from toolkit.errors import ConfigError, DataError, Problem, UserError

P = ParamSpec("P")
T = TypeVar("T")
Severity = Literal["error", "warning"]


class FoundBox(NamedTuple):
    """A box at fault.

    Args:
        file: absolute path of its image.
        xyxy: corners x1, y1, x2, y2 in pixels.
        name: name of its class, "" when unknown.
    """

    file: str
    xyxy: tuple[float, float, float, float]
    name: str = ""


class Finding(NamedTuple):
    """One fault, however many files have it.

    Args:
        kind: a short stable word for programs ("truncated", "unknown_label").
        problem: what is wrong, where, and what to do.
        severity: an error stops a training.
        number: how many files, boxes or pixels, as the problem's message says.
        files: absolute paths of the offenders, the first of them worth a picture.
        boxes: the boxes that are at fault, where it is about boxes.
        paired: the files are pairs, each with the one after it.
    """

    kind: str
    problem: Problem
    severity: Severity = "error"
    number: int = 1
    files: tuple[str, ...] = ()
    boxes: tuple[FoundBox, ...] = ()
    paired: bool = False

    def as_json(self) -> dict[str, Any]:
        """Plain values: where, message, suggestion, kind, number, files."""
        found = {"kind": self.kind, "number": self.number, "files": list(self.files)}
        return {**self.problem.as_json(), **found}


class Fact(NamedTuple):
    """Something that was seen. topic: one short word ("data", "sizes"). text: the rest of the line."""

    topic: str
    text: str

    def __str__(self) -> str:
        return f"{self.topic:<7} {self.text}"


class Table(NamedTuple):
    """Rows of text under headers, all as many.

    Args:
        title: words that stand above the table.
        header: names of the columns, from left to right.
        rows: texts of each row, as many as there are columns.
        words: the first so many columns are words, the others numbers.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1


@dataclass(frozen=True)
class ClassNumbers:
    """How often one class occurs in a split.

    Args:
        images: number of images that hold the class.
        pixels: pixels of the class; None where the data has no label maps.
        boxes: boxes of the class; None where the data has no boxes.
    """

    images: int
    pixels: int | None = None
    boxes: int | None = None


@dataclass(frozen=True)
class SizeNumbers:
    """Sizes of the images of a split, (height, width) in pixels.

    Args:
        smallest: size of the image with the fewest pixels.
        median: size of the image in the middle.
        largest: size of the image with the most pixels.
        different: how many different sizes there are.
    """

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    different: int


@dataclass(frozen=True)
class BoxNumbers:
    """Boxes of a split, counted and by size (COCO's borders 32^2 and 96^2 square pixels).

    Args:
        number: how many boxes there are in all.
        empty_images: how many images have no box.
        small: boxes below 32^2 square pixels of area.
        medium: boxes from 32^2 to 96^2 square pixels of area.
        large: boxes above 96^2 square pixels of area.
        per_image: 5th, 50th and 95th percentile of the boxes of an image.
        width: 5th, 50th and 95th percentile in pixels; None without boxes.
        height: 5th, 50th and 95th percentile in pixels; None without boxes.
        aspect: 5th, 50th and 95th percentile of width divided by height; None without boxes.
    """

    number: int
    empty_images: int
    small: int
    medium: int
    large: int
    per_image: tuple[float, ...]
    width: tuple[float, ...] | None = None
    height: tuple[float, ...] | None = None
    aspect: tuple[float, ...] | None = None


@dataclass(frozen=True)
class SplitNumbers:
    """A split in numbers.

    Args:
        images: number of samples of the split.
        faulty: number of samples that cannot be used.
        classes: numbers of each class by its name.
        sizes: None when no image could be read.
        pixel_mean: mean of each channel's values 0..1; None where channels differ.
        pixel_std: deviation of each channel's values 0..1; None where channels differ.
        ignored_pixels: pixels that do not count; None without label maps.
        median_frequency_weights: a number a class, of the training split only.
        boxes: numbers of the boxes, None without boxes.
    """

    images: int
    faulty: int
    classes: Mapping[str, ClassNumbers]
    sizes: SizeNumbers | None = None
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None
    ignored_pixels: int | None = None
    median_frequency_weights: tuple[float, ...] | None = None
    boxes: BoxNumbers | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values, without what is None."""
        return _without_none(asdict(self))


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return list(value) if isinstance(value, tuple) else value


@dataclass
class Report:
    """Everything a check found and measured.

    Everything a check found and measured.

    Args:
        findings: what was found, in the order it was met.
        facts: what was seen, a line each, for people.
        tables: tables for people, in the order they were made.
        statistics: plain values by name, for programs.
        data: the splits in numbers, when all samples were read.
        exit_code: 2 when only the config is at fault, 1 when files are, 0 when nothing is.
    """

    findings: list[Finding] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    statistics: dict[str, Any] = field(default_factory=dict)
    data: dict[str, SplitNumbers] = field(default_factory=dict)
    exit_code: int = 0

    @property
    def errors(self) -> list[Problem]:
        """The problems that stop a training, in the order they were met."""
        return [finding.problem for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """The problems that may surprise but stop nothing, in the order they were met."""
        return [finding.problem for finding in self.findings if finding.severity == "warning"]

    def add(self, finding: Finding, exit_code: int = 1) -> None:
        """Notes a finding, once. exit_code: 2 for a fault of the config, 1 for one of files; of errors only."""
        if any(known.problem == finding.problem for known in self.findings):
            return
        self.findings.append(finding)
        if finding.severity == "error":
            self.exit_code = 1 if 1 in (self.exit_code, exit_code) else 2

    def note(self, topic: str, text: str) -> None:
        """Adds a fact: its topic and what was seen, for people."""
        self.facts.append(Fact(topic, text))

    def warn(self, kind: str, problem: Problem) -> None:
        """Notes something that does not stop a training."""
        self.add(Finding(kind, problem, "warning"))

    def attempt(self, kind: str, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T | None:
        """What `work` returns, or None with its problems noted as errors of that kind.

        Args:
            kind: short stable word under which problems are noted.
            work: called with the other arguments.
            args: what `work` is called with, by position.
            named: what `work` is called with, by name.
        """
        try:
            return work(*args, **named)
        except UserError as error:
            for problem in error.problems:
                self.add(Finding(kind, problem), 2 if isinstance(error, ConfigError) else 1)
            return None

    def stop_on_errors(self) -> None:
        """Raises all errors together: ConfigError when only the config is at fault, else DataError."""
        if self.errors:
            raise (ConfigError if self.exit_code == 2 else DataError)(self.errors)

    def as_json(self) -> dict[str, Any]:
        """{"ok", "errors", "warnings", "facts", "statistics"}: plain values."""
        by_severity: dict[str, list[dict[str, Any]]] = {"error": [], "warning": []}
        for finding in self.findings:
            by_severity[finding.severity].append(finding.as_json())
        data = {split: numbers.as_json() for split, numbers in self.data.items()}
        return {
            "ok": not by_severity["error"],
            "errors": by_severity["error"],
            "warnings": by_severity["warning"],
            "facts": [str(fact) for fact in self.facts],
            "statistics": self.statistics | ({"data": data} if data else {}),
        }
