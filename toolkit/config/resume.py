"""What a run continues from, and whether its config is still the same experiment."""

from __future__ import annotations

from typing import Any

from toolkit.config.load import parse_config
from toolkit.config.plain import to_plain
from toolkit.config.sections import Config
from toolkit.engine.checkpoint import TrainState, load_state
from toolkit.engine.run_folder import RunFolder
from toolkit.errors import ConfigError, Problem

_MAY_CHANGE = ("steps", "log_every", "evaluate_every", "save_every", "device", "devices", "nodes", "threads", "loggers")


def resumed(folder: RunFolder, config: Config) -> TrainState:
    """The saved state, if the config is still the same experiment. Raises ConfigError listing what differs."""
    state = load_state(folder.state)
    saved = to_plain(parse_config(state.config, str(folder.config)))
    now = to_plain(config)
    differences = list(_differences(saved, now))
    if differences:
        raise ConfigError(
            Problem(f"--resume {folder.path}", f"{key} was {old!r} and is now {new!r}", "start a new run for that")
            for key, old, new in differences
        )
    return state


def _differences(saved: Any, now: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(saved, dict) and isinstance(now, dict):
        found = []
        for key in sorted({*saved, *now}, key=str):
            place = f"{path}.{key}" if path else str(key)
            if place not in {"name", "data.workers", *(f"train.{name}" for name in _MAY_CHANGE)}:
                found += _differences(saved.get(key), now.get(key), place)
        return found
    return [] if saved == now else [(path, saved, now)]
