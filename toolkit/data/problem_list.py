"""Problems found while reading a whole data set: the first of each kind in words, the others counted."""

from __future__ import annotations

from collections import Counter

from toolkit.errors import DataError, Problem

SHOWN_OF_A_KIND = 10
"""Problems of one kind that are told one by one."""


class ProblemList:
    """Collects problems, so that all are reported at once and a million of them stay readable."""

    def __init__(self) -> None:
        self._shown: list[Problem] = []
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, where: str, message: str, suggestion: str = "") -> None:
        """kind: a few words in the plural ("boxes outside their image"), for the count."""
        self._counts[kind] += 1
        if self._counts[kind] <= SHOWN_OF_A_KIND:
            self._shown.append(Problem(where, message, suggestion))

    def wants_more(self, kind: str) -> bool:
        """Whether the next problem of a kind would be told; if not, `count` is enough."""
        return self._counts[kind] < SHOWN_OF_A_KIND

    def count(self, kind: str, number: int = 1) -> None:
        """Adds problems of a kind without words."""
        if number:
            self._counts[kind] += number

    def include(self, error: DataError) -> None:
        """Adds the problems of an error that was caught, in front, however many."""
        self._shown[:0] = error.problems

    def stop_if_any(self, where: str) -> None:
        """Raises DataError with everything collected. where: the file or folder that was read."""
        if not self._shown:
            return
        rest = [
            Problem(where, f"and {count - SHOWN_OF_A_KIND} more {kind}, {count} in all")
            for kind, count in self._counts.items()
            if count > SHOWN_OF_A_KIND
        ]
        raise DataError([*self._shown, *rest])
