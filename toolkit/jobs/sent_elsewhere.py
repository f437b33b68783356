"""The loggers of a training, with the config in the plain form they show beside the curves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from toolkit.config.plain import to_plain
from toolkit.config.sections import Config
from toolkit.engine.checkpoint import TrainState
from toolkit.engine.log import RunLog
from toolkit.engine.loggers import open_loggers
from toolkit.engine.run_folder import RunFolder


@contextmanager
def sent_elsewhere(log: RunLog, config: Config, folder: RunFolder, state: TrainState | None) -> Iterator[None]:
    """Within, the events of `log` also go to `train.loggers`, in the first process. Raises UserError as they open."""
    step = state.step if state is not None else 0
    if log.shown:
        log.loggers = open_loggers(config.train.loggers, folder.path, dict(_flat(to_plain(config))), step)
    finished = False
    try:
        yield
        finished = True
    finally:
        log.close(finished=finished)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, scalar) of every leaf."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path, value
        return
    for key, item in items:
        yield from _flat(item, f"{path}.{key}" if path else str(key))
