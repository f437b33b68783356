"""An optimizer's moments back from a file: matched by the names of the parameters, looked at before they are believed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toolkit.engine.checkpoint import is_plain_tensor
from toolkit.errors import CheckpointError, Problem

_MOMENTS: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
}
"""What PyTorch's optimizers keep of a parameter, options such as amsgrad left out."""


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any], where: str | Path = "") -> None:
    """Loads the moments of a state dict; learning rates and other options stay those the optimizer was built with.

    Groups made by `parameter_groups` know their parameters by name, so that moments find their parameter although it is
    in another group now; a parameter the file does not know starts without any. saved: as `load_state` has checked it.
    where: the file, for messages. Raises CheckpointError, naming the first that do not fit.
    """
    now = optimizer.state_dict()["param_groups"]
    named = _are_named(now) and _are_named(saved["param_groups"])
    theirs = _numbers(saved["param_groups"], named)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    names = list(_numbers(now, named))
    if len(theirs) != len(names) and not named:
        message = f"holds the optimizer's moments of {len(theirs)} parameters; the model trains {len(names)}"
        raise CheckpointError(Problem(str(where), message, "start a new run, from these weights with model.init_from"))
    moments: dict[int, Any] = {}
    wrong = []
    for place, (name, parameter) in enumerate(zip(names, parameters, strict=True)):
        found = saved["state"].get(theirs[name]) if name in theirs else None
        if found is None:
            continue
        if _fits(found, parameter, optimizer):
            moments[place] = found
        else:
            wrong.append(str(name))
    if wrong:
        shown = ", ".join(wrong[:3]) + (" ..." if len(wrong) > 3 else "")
        message = f"holds moments of {len(wrong)} parameters that are not those of this optimizer and model: {shown}"
        raise CheckpointError(Problem(str(where), message, "start a new run, from these weights with model.init_from"))
    optimizer.load_state_dict({"state": moments, "param_groups": now})


def _are_named(groups: list[dict[str, Any]]) -> bool:
    return all(
        isinstance(group.get("parameters"), list) and len(group["parameters"]) == len(group["params"])
        for group in groups
    )


def _numbers(groups: list[dict[str, Any]], named: bool) -> dict[Any, int]:
    """The number of each parameter in a state dict, by its name, or by its place."""
    numbers = [number for group in groups for number in group["params"]]
    if named:
        names = [name for group in groups for name in group["parameters"]]
        return {str(name): number for name, number in zip(names, numbers, strict=True)}
    return dict(enumerate(numbers))


def _fits(moments: Mapping[str, Any], parameter: Tensor, optimizer: torch.optim.Optimizer) -> bool:
    wanted = next((names for kind, names in _MOMENTS.items() if isinstance(optimizer, kind)), None)
    if wanted is None:
        return all(_is_count(value) or _is_moment(value, parameter) for value in moments.values())
    return set(moments) == wanted and all(
        _is_count(value) if name == "step" else _is_moment(value, parameter) for name, value in moments.items()
    )


def _is_count(value: Any) -> bool:
    """A number, or a tensor that holds one: how many updates were made."""
    if isinstance(value, Tensor):
        return is_plain_tensor(value) and value.numel() == 1 and value.is_floating_point()
    return type(value) in (int, float)


def _is_moment(value: Any, parameter: Tensor) -> bool:
    """Nothing yet, or a dense tensor of the parameter's shape."""
    if isinstance(value, Tensor):
        return is_plain_tensor(value) and value.shape == parameter.shape and value.is_floating_point()
    return value is None
