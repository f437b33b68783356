"""A saved state back into a model, its optimizer and the scaler of its precision; refused in a sentence when it does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from toolkit.engine.checkpoint import TrainState
from toolkit.engine.optimizer_state import restore_optimizer
from toolkit.errors import CheckpointError, Problem
from toolkit.models.weights import load_into


def restore_state(
    fabric: Any, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainState, where: Path
) -> None:
    """Loads what `load_state` gave. where: the file, for messages. Raises CheckpointError naming what does not fit."""
    if state.average:
        load_into(model, state.average, where=where)  # looks at its names and shapes; the weights themselves follow
    load_into(model, state.model, where=where)
    restore_optimizer(optimizer, state.optimizer, where)
    if state.scaler:
        try:
            fabric.strategy.precision.load_state_dict(state.scaler)
        except (KeyError, RuntimeError, TypeError) as error:
            message = f"holds a gradient scaler's state that is not one ({error})"
            raise CheckpointError(Problem(str(where), message, "start a new run")) from error
