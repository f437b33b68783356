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
    """A box at fault. file: absolute path of its image. xyxy: its corners in pixels. name: of its class, or ""."""

    file: str
    xyxy: tuple[float, float, float, float]
    name: str = ""


class Finding(NamedTuple):
    """One fault, however many files have it.

    kind: a short stable word for programs ("truncated", "unknown_label"). severity: an error stops a training.
    number: how many files, boxes or pixels, as the problem's message says. files: absolute paths of the offenders, the
    first of them worth a picture. boxes: those at fault. paired: the files are pairs, each with the one after it.
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
    """Rows of text under headers, all as many. words: the first so many columns are words, the others numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1


@dataclass(frozen=True)
class ClassNumbers:
    """images: that hold the class. pixels, boxes: of it; None where the data has no label maps or no boxes."""

    images: int
    pixels: int | None = None
    boxes: int | None = None


@dataclass(frozen=True)
class SizeNumbers:
    """(height, width) of the image with the fewest, the middle and the most pixels; how many sizes there are."""

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    different: int


@dataclass(frozen=True)
class BoxNumbers:
    """Boxes of a split, counted and by size (COCO's borders 32^2 and 96^2 square pixels).

    per_image, width, height (pixels), aspect (width / height): the 5th, 50th and 95th percentile; None without boxes.
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
    """A split in numbers. images, faulty: samples, and those that cannot be used. classes: by name.

    sizes: None when no image could be read. pixel_mean, pixel_std: of each channel's values 0..1; None where channels
    differ. ignored_pixels: None without label maps. median_frequency_weights: a number a class, of
    the training split only. boxes: None without boxes.
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
    """findings: in the order they were met. facts: what was seen, a line each, for people. tables: for people too.

    statistics: plain values by name, for programs. data: the splits in numbers, when all samples were read.
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
        """What stops a training."""
        return [finding.problem for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """What may surprise."""
        return [finding.problem for finding in self.findings if finding.severity == "warning"]

    def add(self, finding: Finding, exit_code: int = 1) -> None:
        """Notes a finding, once. exit_code: 2 for a fault of the config, 1 for one of files; of errors only."""
        if any(known.problem == finding.problem for known in self.findings):
            return
        self.findings.append(finding)
        if finding.severity == "error":
            self.exit_code = 1 if 1 in (self.exit_code, exit_code) else 2

    def note(self, topic: str, text: str) -> None:
        """Adds a fact."""
        self.facts.append(Fact(topic, text))

    def warn(self, kind: str, problem: Problem) -> None:
        """Notes something that does not stop a training."""
        self.add(Finding(kind, problem, "warning"))

    def attempt(self, kind: str, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T | None:
        """What `work` returns, or None with its problems noted as errors of that kind."""
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
