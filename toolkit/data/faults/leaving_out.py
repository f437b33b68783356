"""Whether a data set that is being made stops at a fault of one sample, or leaves that sample out and says so.

A data set's constructor raises every problem it sees. A check wants to go on and find what else is wrong, and
`data.on_bad: skip` wants the rest of the samples; both make it inside `leaving_out()`, where a fault that belongs to
single samples is noted and the samples are dropped. What makes the whole data set meaningless is raised all the same.

A `FileError` is what is wrong with one file, in words for a person and in a word for a program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from toolkit.errors import DataError, Problem

Corners = tuple[float, float, float, float]
"""A box: x1, y1, x2, y2 in pixels of its image."""


class Fault(NamedTuple):
    """One kind of fault, of however many samples.

    Args:
        kind: a short stable word for programs.
        problem: what a person is told.
        names: images that are left out, absolute or relative to the data set's root; () when the fault belongs to none
            (a mask without image).
        number: how many files or boxes.
        boxes: the first of those at fault, each with the name of its image.
    """

    kind: str
    problem: Problem
    names: tuple[str, ...] = ()
    number: int = 1
    boxes: tuple[tuple[str, Corners], ...] = ()


_noted: ContextVar[list[Fault] | None] = ContextVar("noted", default=None)


@contextmanager
def leaving_out() -> Iterator[list[Fault]]:
    """Inside, data sets are made without the samples that are wrong; the list fills with what was wrong."""
    faults: list[Fault] = []
    token = _noted.set(faults)
    try:
        yield faults
    finally:
        _noted.reset(token)


def is_leaving_out() -> bool:
    """Whether faults of single samples are noted instead of raised."""
    return _noted.get() is not None


def raise_or_note(faults: Sequence[Fault]) -> None:
    """Raises DataError with the problems, or notes them inside `leaving_out()`."""
    noted = _noted.get()
    if noted is not None:
        noted.extend(faults)
    elif faults:
        raise DataError(fault.problem for fault in faults)


class FileError(DataError):
    """One thing wrong with one file.

    Args:
        kind: short stable word ("truncated", "unknown_label"), so that many files with the same fault can be told
            together.
        problem: where, what is wrong and what to do.
        counts: the values outside a table and how many pixels have each, as text: {"30": 3600}.
        table: what would have been right, in words.
        file: the one at fault, where the problem's place does not say it.
        boxes: those at fault, in pixels of the image.
    """

    def __init__(
        self,
        kind: str,
        problem: Problem,
        counts: Mapping[str, int] | None = None,
        table: str = "",
        file: str = "",
        boxes: Sequence[Corners] = (),
    ) -> None:
        super().__init__(problem)
        self.kind = kind
        self.counts = dict(counts or {})
        self.table = table
        self.file = file or problem.place.file
        self.boxes = tuple(boxes)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.kind, self.problems[0], self.counts, self.table, self.file, self.boxes)
