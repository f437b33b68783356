"""Where a run stands between two steps: the few things that change beside weights and optimizer, and are saved."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from toolkit.engine.async_scalars import AsyncScalars
from toolkit.engine.checkpoint import TrainState
from toolkit.engine.settings import TrainSettings
from toolkit.engine.spent import Spent
from toolkit.samples import Batch


class LogWindow:
    """Means of named scalars, and the shares of time, since the last log line.

    Its sums are saved with the state, so that a resumed run's next line is that of the uninterrupted run.
    """

    def __init__(self, sums: Mapping[str, float] | None = None) -> None:
        self._sums = dict(sums or {})
        self._pending: list[AsyncScalars] = []
        self._clock()

    def _clock(self) -> None:
        self.began = time.monotonic()
        self.waited = 0.0
        self.images = 0

    def add(self, terms: Mapping[str, float], pending: AsyncScalars | None = None) -> None:
        """One step's scalars, and others that are still on their way from the device."""
        self._add({**terms, "steps": 1.0})
        if pending is not None:
            self._pending.append(pending)

    def _add(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def state(self) -> dict[str, float]:
        """Sums of every scalar, and "steps", the number of steps they are of."""
        for scalars in self._pending:
            self._add(scalars.values())
        self._pending = []
        return dict(self._sums)

    def add_images(self, images: int) -> None:
        """Counts the images of a step, those of all processes."""
        self.images += images

    def add_wait(self, seconds: float) -> None:
        """Counts the time that the loop stood still for a batch."""
        self.waited += seconds

    def means(self) -> dict[str, float]:
        """Mean of each scalar a step."""
        sums = self.state()
        steps = sums.pop("steps", 0.0) or math.nan
        return {name: value / steps for name, value in sums.items()}

    def speed(self) -> dict[str, float]:
        """images_per_second and data_wait (share of the time, 0..1)."""
        seconds = max(time.monotonic() - self.began, 1e-9)
        return {"images_per_second": self.images / seconds, "data_wait": self.waited / seconds}

    def reset(self) -> None:
        """Forgets all sums and starts the clock of the next window."""
        self._sums = {}
        self._clock()


@dataclass
class RunPosition:
    """What the loop counts and remembers, beside weights and optimizer.

    Args:
        step: optimizer updates made so far.
        evaluated: step of the last evaluation, -1 before the first.
        best: metric "value" and "step" of `best.safetensors`, or empty before one is measured.
        stale: evaluations since the best one, which `patience` counts.
        window: sums since the last log line.
        spent: processor time and images that the run has cost so far.
    """

    step: int = 0
    evaluated: int = -1
    best: dict[str, float] = field(default_factory=dict)
    stale: int = 0
    window: LogWindow = field(default_factory=LogWindow)
    spent: Spent = field(default_factory=Spent)

    @staticmethod
    def of(state: TrainState | None) -> RunPosition:
        """The beginning, or where a saved run stood."""
        if state is None:
            return RunPosition()
        window, spent = LogWindow(state.window), Spent(state.spent)
        return RunPosition(state.step, state.evaluated, dict(state.best), state.stale, window, spent)

    def finished(self, settings: TrainSettings) -> bool:
        """Whether there is nothing left to train: all steps made, or no better evaluation for `patience` of them."""
        return self.step >= settings.steps or (settings.patience is not None and self.stale >= settings.patience)

    def fetched(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches, with the time spent waiting for each noted."""
        iterator = iter(batches)
        while True:
            began = time.monotonic()
            batch = next(iterator)
            self.window.add_wait(time.monotonic() - began)
            yield batch
