"""Progress for people: a bar with rate and time left on a terminal, a plain line now and then elsewhere. On stderr."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from toolkit.printing import printable

T = TypeVar("T")


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss.

    >>> duration(3725)
    '1:02:05'
    """
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def on_terminal() -> bool:
    """Whether stderr is a terminal that can redraw a line."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class Progress:
    """A bar or lines on stderr while work goes on: a context manager; call `update(done, text)` as often as you like.

    Args:
        label: word in front of the numbers ("train").
        total: how many units of work there are; 0 where nobody knows: then they are counted only.
        unit: word for a unit in the rate ("img" gives "img/s").
        every: seconds between plain lines when stderr is no terminal.
        shown: False says nothing at all (processes other than the first).
    """

    def __init__(self, label: str, total: int, unit: str = "it", *, every: float = 30.0, shown: bool = True) -> None:
        self.label, self.total, self.unit, self.every, self.shown = label, total, unit, every, shown
        self.done = 0
        self._start = self._last = time.monotonic()
        self._first = 0
        self._part = 0.0
        self._warm: tuple[int, float] | None = None
        self._terminal = on_terminal()
        self._width = 0

    def __enter__(self) -> Progress:
        self._start = self._last = time.monotonic()
        _shown.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        _shown.remove(self)

    def start_at(self, done: int) -> None:
        """Says how many units were done before: they count for the bar, not for the rate."""
        self.done = self._first = done

    def update(self, done: int, text: str = "") -> None:
        """Shows that `done` of `total` are finished, with a text behind it; redrawn at most ten times a second."""
        self.done, self._part = done, 0.0
        if self._warm is None:
            self._warm = (done, time.monotonic())
        self._show(text)

    def within(self, done: int, total: int, unit: str) -> None:
        """Shows that of the unit of work that is next `done` of `total` pieces are finished.

        Args:
            done: pieces that are finished, 0..total.
            total: how many pieces there are.
            unit: word for a piece ("tile").
        """
        self._part = done / max(total, 1)
        self._show(f"{unit} {done}/{total}")

    def _show(self, text: str) -> None:
        now = time.monotonic()
        if not self.shown or now - self._last < (0.1 if self._terminal else self.every):
            return
        self._last = now
        if self._terminal:
            line = printable(self._bar() + (f"  {text}" if text else ""))
            width = os.get_terminal_size(sys.stderr.fileno()).columns - 1
            line = line[:width]
            sys.stderr.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            sys.stderr.write(printable(f"{self._line()}{'  ' + text if text else ''}\n"))
        sys.stderr.flush()

    def clear(self) -> None:
        """Takes the bar away, so that a line can be printed."""
        if self._terminal and self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0

    @property
    def made(self) -> int:
        """Units of work done since `start_at`."""
        return self.done - self._first

    @property
    def seconds_each(self) -> float:
        """Mean time of a unit since the first update, which is left out because it warms up; 0 before the second."""
        if self._warm is None or self.done == self._warm[0]:
            return 0.0
        return (time.monotonic() - self._warm[1]) / (self.done - self._warm[0])

    @property
    def seconds_left(self) -> float:
        """Expected time to the end, by the mean rate so far."""
        made = self.done + self._part - self._first
        return (time.monotonic() - self._start) / made * (self.total - self.done - self._part) if made else 0.0

    @property
    def rate(self) -> float:
        """Units a second since the start."""
        return (self.done + self._part - self._first) / max(time.monotonic() - self._start, 1e-9)

    def _count(self) -> str:
        return f"{self.label} {self.done}  {self.rate:.3g} {self.unit}/s"

    def _line(self) -> str:
        if not self.total:
            return self._count()
        return (
            f"{self.label} {self.done}/{self.total}  {self.rate:.3g} {self.unit}/s  eta {duration(self.seconds_left)}"
        )

    def _bar(self) -> str:
        if not self.total:
            return self._count()
        cells = 20
        full = int(cells * (self.done + self._part) / max(self.total, 1))
        bar = "#" * full + "-" * (cells - full)
        times = f"eta {duration(self.seconds_left)}"
        return f"{self.label} [{bar}] {self.done}/{self.total}  {self.rate:.3g} {self.unit}/s  {times}"


_shown: list[Progress] = []
"""Those that are being shown now, the innermost last."""


def told(text: str, log: logging.Logger) -> None:
    """Says what a part of the work decides on the way: to its log, and in a line above the progress that is being shown.

    The command line shows no log below warnings; in Python, who asks for it gets it.

    Args:
        text: one line for people, without a full stop.
        log: the logger of the module that says it.
    """
    log.info("%s", text)
    if _shown and _shown[-1].shown:
        _shown[-1].clear()
        sys.stderr.write(printable(f"note: {text}\n"))
        sys.stderr.flush()


def told_within(done: int, total: int, unit: str) -> None:
    """Tells the progress that is being shown, if there is one, how far the unit of work is that is next.

    What takes long inside one unit, as the tiles of a large picture do, calls it without knowing who shows it.

    Args:
        done: pieces that are finished, 0..total.
        total: how many pieces there are.
        unit: word for a piece ("tile").
    """
    if _shown:
        _shown[-1].within(done, total, unit)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """A line on a terminal while the block takes its seconds, gone afterwards; nothing elsewhere."""
    shown, text = on_terminal(), printable(text)
    if shown:
        sys.stderr.write(text)
        sys.stderr.flush()
    try:
        yield
    finally:
        if shown:
            sys.stderr.write("\r" + " " * len(text) + "\r")
            sys.stderr.flush()


def tracked(items: Iterable[T], label: str, total: int, unit: str = "it", *, shown: bool = True) -> Iterator[T]:
    """Hands on the items of an iterable while their number is shown on stderr, by the first of several processes.

    Args:
        items: what is handed on, in the same order.
        label: word in front of the numbers ("predict").
        total: how many items there are.
        unit: word for an item in the rate ("img" gives "img/s").
        shown: False says nothing at all (processes other than the first).
    """
    first = os.environ.get("RANK", "0") in ("", "0")
    with Progress(label, total, unit, shown=shown and first) as progress:
        for number, item in enumerate(items, 1):
            yield item
            progress.update(number)
