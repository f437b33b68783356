"""What is wrong with one file, in words for a person and in a word for a program."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.errors import DataError, Problem


class FileError(DataError):
    """One thing wrong with one file.

    kind: a short stable word ("truncated", "unknown_label"), so that many files with the same fault can be told
    together. counts: the values outside a table and how many pixels have each, as text: {"30": 3600}. table: what would
    have been right, in words.
    """

    def __init__(self, kind: str, problem: Problem, counts: Mapping[str, int] | None = None, table: str = "") -> None:
        super().__init__(problem)
        self.kind = kind
        self.counts = dict(counts or {})
        self.table = table

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.kind, self.problems[0], self.counts, self.table)
