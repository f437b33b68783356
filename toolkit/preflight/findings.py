"""What a check found: errors, warnings, facts, tables and statistics, for a terminal, a page and a program alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar

from toolkit.errors import ConfigError, DataError, Problem, UserError

P = ParamSpec("P")
T = TypeVar("T")
Severity = Literal["error", "warning"]


class Finding(NamedTuple):
    """One fault, however many files have it.

    kind: a short stable word for programs ("truncated", "unknown_label"). severity: an error stops a training.
    number: how many files, boxes or pixels, as the problem's message says. files: absolute paths of the offenders, the
    first of them worth a picture.
    """

    kind: str
    problem: Problem
    severity: Severity = "error"
    number: int = 1
    files: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values: where, message, suggestion, kind, number, files."""
        found = {"kind": self.kind, "number": self.number, "files": list(self.files)}
        return {**self.problem.as_json(), **found}


class Table(NamedTuple):
    """Rows of text under headers, all as many."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass
class Report:
    """findings: in the order they were met. facts: what was seen, a line each, for people ("data    train: ...").

    tables: for people too. statistics: plain values by name, for programs (class frequencies, sizes, pixel statistics).
    exit_code: 2 when only the config is at fault, 1 when files are, 0 when nothing is.
    """

    findings: list[Finding] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    statistics: dict[str, Any] = field(default_factory=dict)
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
        return {
            "ok": not by_severity["error"],
            "errors": by_severity["error"],
            "warnings": by_severity["warning"],
            "facts": self.facts,
            "statistics": self.statistics,
        }
