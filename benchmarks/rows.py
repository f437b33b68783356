"""A row of the table: one piece of work, done by the toolkit and by others in turn, in one process.

A module of this folder that has a function `rows() -> list[Row]` is part of the table:

    def rows() -> list[Row]:
        return [Row("relu", "relu of 64 MiB, float32", measure_relu, goals=(Goal("numpy", least=1.5),))]

    def measure_relu(work: Work) -> Measurements:
        x = torch.randn(16 * work.scale, 1 << (10 if work.toy else 20))
        return work.in_turn({"toolkit": lambda: x.relu(), "numpy": from_package("numpy", lambda: numpy_way(x))})

The first way is ours (named "toolkit"); each other one is a line of the table. Peers are imported inside the function that
makes their way, so that a missing one leaves out its line only.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

OURS = "toolkit"
Quantity = Literal["seconds", "bytes"]


@dataclass(frozen=True)
class Measured:
    """What one run of a way took.

    Attributes:
        seconds: wall clock.
        processor: seconds of all threads of the process; of its children too, where the way says so.
        bytes: peak or kept memory; None where a row is about time alone.
    """

    seconds: float
    processor: float
    bytes: int | None = None


@dataclass(frozen=True)
class Missing:
    """A way that cannot be gone here: which package is not installed, or another reason."""

    reason: str


Way = Callable[[], object]
"""Does the work once. One that returns a `Measured` has measured itself (a process of its own, bytes)."""
Measurements = dict[str, "list[Measured] | Missing"]
"""Runs of each way in the same rounds, ours first."""


@dataclass(frozen=True)
class Goal:
    """What is wanted of ours against one peer.

    Attributes:
        peer: name of the way.
        least: the peer's time (or bytes) by ours, at least: "as fast three times". The line shows "3.1x".
        most: ours by the peer's, at most: "0.7 of its time". The line shows "0.68 of".
        of: which of the two is meant.
    """

    peer: str
    least: float | None = None
    most: float | None = None
    of: Quantity = "seconds"


@dataclass(frozen=True)
class Row:
    """One piece of work.

    Attributes:
        name: short, for `--only`; unique.
        title: what is done, with its sizes, in at most 60 letters.
        measure: does it; called once, in a fresh process.
        goals: what is wanted against which peer.
        threads: of every way; the process starts with them (OMP_NUM_THREADS and its like).
        budget: seconds that the rounds may take together, making ready not counted. The whole table has ten minutes.
        rounds: at least so many, whatever they take.
        limit_seconds: what ours should take at most, on two quiet cores.
        limit_bytes: the same of memory.
        grows: whether 1, 4 and 16 times the work is measured by `--growth`; `measure` then heeds `work.scale`.
    """

    name: str
    title: str
    measure: Callable[[Work], Measurements]
    goals: tuple[Goal, ...] = ()
    threads: int = 1
    budget: float = 6.0
    rounds: int = 5
    limit_seconds: float | None = None
    limit_bytes: int | None = None
    grows: bool = False


@dataclass
class Work:
    """How much of a row is done.

    Attributes:
        toy: the smallest sizes and one round: to see that it runs (tests).
        scale: how many times the usual work (images, pixels): 1, 4 or 16.
        budget: seconds that the rounds may take together.
        least_rounds: this many in any case.
        only_ours: peers are left out, and `peak_bytes` is found: for growth.
        peak_bytes: the most memory of this process while ours ran, above what stood before its first run; None where the
            system does not tell (Linux does).
        folder: an empty one, removed afterwards.
        at_end: what is closed afterwards: `work.at_end.callback(pool.shutdown)`.
    """

    toy: bool = False
    scale: int = 1
    budget: float = 10.0
    least_rounds: int = 3
    only_ours: bool = False
    peak_bytes: int | None = None
    folder: Path = field(default_factory=Path)
    at_end: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> Work:
        self.folder = Path(self.at_end.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        return self

    def __exit__(self, *_: object) -> None:
        self.at_end.close()

    def in_turn(
        self, ways: Mapping[str, Way | Missing], same: Callable[[dict[str, Any]], None] | None = None
    ) -> Measurements:
        """Runs of all ways, one a round each, until the budget is used; a round before them does not count.

        Every second round goes backwards, so that no way always follows the same one. `same` gets what each way
        returned in the first round, and raises AssertionError when the answers differ.
        """
        if self.only_ours:
            name, way = next(iter(ways.items()))
            return {name: way if isinstance(way, Missing) else self._alone(way)}
        able = {name: way for name, way in ways.items() if not isinstance(way, Missing)}
        returned = {name: way() for name, way in able.items()}
        if same is not None:
            same(returned)
        runs: dict[str, list[Measured]] = {name: [] for name in able}
        began, rounds = time.perf_counter(), 0
        while rounds < self.least_rounds or (time.perf_counter() - began < self.budget and rounds < 50):
            for name in list(able) if rounds % 2 == 0 else reversed(list(able)):
                runs[name].append(measured(able[name]))
            rounds += 1
            if self.toy:
                break
        return {name: way if isinstance(way, Missing) else runs[name] for name, way in ways.items()}

    def _alone(self, way: Way) -> list[Measured]:
        """A first run, which is all where it takes long; else three more, which count alone."""
        before = resident_bytes(reset=True)
        runs = [measured(way)]
        if runs[0].processor < 2:
            runs = [measured(way) for _ in range(3)]
        after = resident_bytes()
        self.peak_bytes = after[1] - before[0] if before and after else None
        return runs


def measured(way: Way) -> Measured:
    """One run, timed here unless it measured itself."""
    wall, processor = time.perf_counter(), time.process_time()
    result = way()
    taken = Measured(time.perf_counter() - wall, time.process_time() - processor)
    return result if isinstance(result, Measured) else taken


def resident_bytes(reset: bool = False) -> tuple[int, int] | None:
    """Memory of this process now, and its most since the last reset; None where the system does not tell."""
    status, forget = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        if reset:
            forget.write_text("5", encoding="ascii")  # proc(5): the peak begins anew
        told = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", status.read_text(encoding="ascii")))
        return int(told["VmRSS"]) << 10, int(told["VmHWM"]) << 10
    except (OSError, KeyError):
        return None


def from_package(package: str, make: Callable[[], Way]) -> Way | Missing:
    """What `make` makes; Missing, with the line to type, where the package it imports is not installed.

    `package` is what pip calls it, with options where it needs some ("--no-deps sahi").
    """
    try:
        return make()
    except ModuleNotFoundError as error:
        return Missing(f"not installed ({error}): pip install {package}")
