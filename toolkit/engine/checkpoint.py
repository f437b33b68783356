"""The state a run continues from: tensors and plain values only, loaded with `weights_only=True`.

The file is complete in itself (weights too), so that a kill between two renames cannot pair the weights of one step
with the optimizer of another. `last.safetensors` and `best.safetensors` are for people and other tools.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from toolkit.errors import CheckpointError, Problem, no_such
from toolkit.files import replacing

_FORMAT = 1


class TrainState(NamedTuple):
    """Everything that a resumed run needs; all the rest is a function of `step` and the config.

    step: optimizer updates made. model, optimizer, scaler: state dicts. best: metric value and step of
    `best.safetensors`, or empty. evaluated: step of the last evaluation. window: sums since the last log line.
    config: resolved YAML.
    """

    step: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    best: dict[str, float]
    evaluated: int
    window: dict[str, float]
    config: str


def save_state(path: Path, state: TrainState) -> None:
    """By rename; raises UserError when the disk refuses, the former file then being whole."""
    with replacing(path) as part:
        torch.save({"format": _FORMAT, **state._asdict()}, part)


def load_state(path: Path) -> TrainState:
    """Raises CheckpointError for a missing, damaged, hostile or foreign file; nothing in it is ever executed."""
    if not path.is_file():
        raise CheckpointError(no_such("state file", path))
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file; all mean the same to a user
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        message = f"is damaged, cut short or not a state file of this toolkit ({reason})"
        raise CheckpointError(Problem(str(path), message, "continue from an older copy, or start anew")) from error
    fields = set(TrainState._fields)
    if not isinstance(raw, dict) or raw.get("format") != _FORMAT or not fields <= set(raw):
        raise CheckpointError(Problem(str(path), "is not a state file of this version of the toolkit"))
    kinds = {"step": int, "evaluated": int, "config": str}
    wrong = [name for name in fields if not isinstance(raw[name], kinds.get(name, dict))]
    if wrong:
        raise CheckpointError(Problem(str(path), f"has fields of wrong types: {', '.join(sorted(wrong))}"))
    return TrainState(**{name: raw[name] for name in TrainState._fields})
