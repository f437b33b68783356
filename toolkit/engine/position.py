"""Where a run stands between two steps: the few things that change beside weights and optimizer, and are saved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic

from toolkit.engine.checkpoint import TrainState
from toolkit.engine.settings import TrainSettings
from toolkit.engine.window import LogWindow
from toolkit.samples import Batch


@dataclass
class Position:
    """step: optimizer updates made. evaluated: step of the last evaluation, -1 before the first.

    best: metric value and step of `best.safetensors`, or empty. stale: evaluations since that were not better.
    window: sums since the last log line.
    """

    step: int = 0
    evaluated: int = -1
    best: dict[str, float] = field(default_factory=dict)
    stale: int = 0
    window: LogWindow = field(default_factory=LogWindow)

    @staticmethod
    def of(state: TrainState | None) -> Position:
        """The beginning, or where a saved run stood."""
        if state is None:
            return Position()
        return Position(state.step, state.evaluated, dict(state.best), state.stale, LogWindow(state.window))

    def finished(self, settings: TrainSettings) -> bool:
        """Whether there is nothing left to train: all steps made, or no better evaluation for `patience` of them."""
        return self.step >= settings.steps or (settings.patience is not None and self.stale >= settings.patience)

    def fetched(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches, with the time spent waiting for each noted."""
        iterator = iter(batches)
        while True:
            began = monotonic()
            batch = next(iterator)
            self.window.took(0, monotonic() - began)
            yield batch
