"""The state a run continues from: tensors and plain values only, loaded with `weights_only=True`.

The file is complete in itself (weights too), so that a kill between two renames cannot pair the weights of one step
with the optimizer of another. `last.safetensors` and `best.safetensors` are for people and other tools.
An optimizer's moments are matched by the names of the parameters, and looked at before they are believed.
"""

from __future__ import annotations

import math
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from toolkit.errors import CheckpointError, Problem, Where, missing_path
from toolkit.files import replacing, writable
from toolkit.models.weights import load_into
from toolkit.version import __version__

_FORMAT = 1
_LARGEST_STEP = 1 << 53
_LONGEST_VERSION = 40
"""Letters; what is longer is no version."""


class TrainState(NamedTuple):
    """Everything that a resumed run needs; all the rest is a function of `step` and the config.

    Args:
        step: number of optimizer updates made so far.
        model: state dict of the model, parameters and buffers.
        optimizer: state dict of the optimizer, moments included.
        scaler: state dict of the gradient scaler, empty without float16.
        best: metric value and step of `best.safetensors`, or empty.
        evaluated: step of the last evaluation, -1 for none.
        window: sums since the last log line.
        config: the resolved config as YAML.
        classes: names of the classes, in the order of the labels.
        stale: number of evaluations since the best one.
        average: moving average of the weights, or empty.
        conventions: settings that once meant something else. Every field needs a line in `_FIELDS`; a new one a default
            too, so that the files of yesterday's runs can be continued.
        spent: processor seconds and images that the run has cost so far, or empty.
    """

    step: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    best: dict[str, float]
    evaluated: int
    window: dict[str, float]
    config: str
    classes: Sequence[str] = ()
    stale: int = 0
    average: dict[str, Any] = {}  # noqa: RUF012 - never changed
    conventions: dict[str, str] = {}  # noqa: RUF012
    spent: dict[str, float] = {}  # noqa: RUF012


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST_STEP


def _is_format(value: Any) -> bool:
    return type(value) is int and value == _FORMAT


def _is_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(key, str) and type(number) in (int, float) for key, number in value.items()
    )


def _is_tensors(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(key, str) and is_plain_tensor(tensor) for key, tensor in value.items()
    )


def is_plain_tensor(value: Any) -> bool:
    """Dense numbers in memory: not sparse, quantised, complex or without content."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and not value.is_complex()
    )


def _is_optimizer(value: Any) -> bool:
    """The shape of `torch.optim.Optimizer.state_dict()`: moments by number of the parameter, groups of such numbers."""
    if not isinstance(value, dict) or not {"state", "param_groups"} <= set(value):
        return False
    state, groups = value["state"], value["param_groups"]
    if not isinstance(state, dict) or not isinstance(groups, list):
        return False
    moments = all(_is_count(number) and isinstance(of, dict) for number, of in state.items())
    return moments and all(
        isinstance(group, dict)
        and isinstance(group.get("params"), list)
        and all(_is_count(number) for number in group["params"])
        for group in groups
    )


def _is_best(value: Any) -> bool:
    """Empty, or a finite value and the step it was measured at."""
    if not _is_numbers(value):
        return False
    return not value or (set(value) == {"value", "step"} and all(map(math.isfinite, value.values())))


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "step": _is_count,
    "model": _is_tensors,
    "optimizer": _is_optimizer,
    "scaler": _is_numbers,
    "best": _is_best,
    "evaluated": lambda value: type(value) is int and -1 <= value <= _LARGEST_STEP,
    "window": _is_numbers,
    "config": lambda value: isinstance(value, str),
    "classes": lambda value: isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value),
    "stale": _is_count,
    "average": _is_tensors,
    "conventions": lambda value: (
        isinstance(value, dict) and all(isinstance(x, str) for pair in value.items() for x in pair)
    ),
    "spent": _is_numbers,
}
"""What each field may hold. A file is somebody's: nothing in it is believed before it was looked at."""


def save_state(path: Path, state: TrainState) -> None:
    """By rename; raises UserError when the disk refuses, the former file then being whole."""
    with replacing(path) as part, writable(part) as file:
        torch.save({"format": _FORMAT, "toolkit": __version__, **state._asdict()}, file)


def load_state(path: Path) -> TrainState:
    """Raises CheckpointError for a missing, damaged, hostile or foreign file; nothing in it is ever executed.

    A field that has a default may be absent (a file of an earlier version).
    """
    if not path.is_file():
        raise CheckpointError(missing_path("state file", path))
    try:
        _refuse_compressed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of a damaged file's format
            raw = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file; all mean the same to a user
        message = f"is damaged, cut short or not a state file of this toolkit ({_reason(error)})"
        raise CheckpointError(Problem(path, message, "continue from an older copy, or start anew")) from error
    needed = set(TrainState._fields) - set(TrainState._field_defaults)
    if not isinstance(raw, dict) or not _is_format(raw.get("format")) or not needed <= set(raw):
        raise CheckpointError(_other_version(path, raw if isinstance(raw, dict) else {}, needed))
    fields = {name: raw[name] for name in TrainState._fields if name in raw}
    wrong = sorted(name for name, value in fields.items() if not _FIELDS[name](value))
    if not wrong and fields["evaluated"] > fields["step"]:
        wrong = ["evaluated"]
    if wrong:
        message = f"has fields that hold something else than they should: {', '.join(wrong)}"
        raise CheckpointError(Problem(path, message, "continue from an older copy, or start anew"))
    return TrainState(**fields)


def _other_version(path: Path, raw: Mapping[str, Any], needed: set[str]) -> Problem:
    """What is wrong with a state that another version wrote, as far as it says.

    Args:
        path: the state file.
        raw: what it holds, by name.
        needed: names without which no state is one.
    """
    found, written = raw.get("format"), raw.get("toolkit")
    if type(found) is not int:
        message = f"is not a state file of this version of the toolkit ({__version__}): it says no form"
    elif found != _FORMAT:
        message = f"is a state of form {found}, and this toolkit ({__version__}) reads form {_FORMAT}"
    else:
        missing = ", ".join(sorted(needed - set(raw)))
        message = f"is not a state file of this version of the toolkit ({__version__}): {missing} missing"
    by = (
        f"toolkit {written}"
        if isinstance(written, str) and len(written) < _LONGEST_VERSION
        else "the toolkit that wrote it"
    )
    return Problem(
        path, message, f"continue with {by}, or start a new run from its weights: model.init_from={path.parent}"
    )


def _refuse_compressed(path: Path) -> None:
    """Raises ValueError for anything but a zip file whose records are stored as they are, as `save_state` writes it.

    A compressed one of a few megabytes can unfold to more than any memory.
    """
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
    stored = all(record.compress_type == zipfile.ZIP_STORED for record in records)
    if not stored or sum(record.file_size for record in records) > path.stat().st_size:
        raise ValueError("its records are compressed or overlap")


def _reason(error: Exception) -> str:
    """Why a file could not be read, in a few words; torch would add how to read it without care."""
    text = str(error)
    asked = re.search(r"GLOBAL ([\w.]+)", text)
    if asked:
        return f"it asks for {asked[1]}, which no state file needs"
    if not text or "Weights only load failed" in text:
        return "its content makes no sense"
    return text.splitlines()[0][:120]


_MOMENTS: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
}
"""What PyTorch's optimizers keep of a parameter, options such as amsgrad left out."""


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any], where: Where = "") -> None:
    """Loads the moments of a state dict; learning rates and other options stay those the optimizer was built with.

    Groups made by `parameter_groups` know their parameters by name, so that moments find their parameter although it is
    in another group now; a parameter the file does not know starts without any.

    Args:
        optimizer: the one to continue with, built for the model as it is now.
        saved: its former state dict, as `load_state` has checked it.
        where: the file it comes from, for messages.

    Raises CheckpointError, naming the first that do not fit.
    """
    now = optimizer.state_dict()["param_groups"]
    named = _are_named(now) and _are_named(saved["param_groups"])
    theirs = _numbers(saved["param_groups"], named)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    names = list(_numbers(now, named))
    if len(theirs) != len(names) and not named:
        message = f"holds the optimizer's moments of {len(theirs)} parameters; the model trains {len(names)}"
        raise CheckpointError(Problem(where, message, "start a new run, from these weights with model.init_from"))
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
        raise CheckpointError(Problem(where, message, "start a new run, from these weights with model.init_from"))
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
        return all(_is_update_count(value) or _is_moment(value, parameter) for value in moments.values())
    return set(moments) == wanted and all(
        _is_update_count(value) if name == "step" else _is_moment(value, parameter) for name, value in moments.items()
    )


def _is_update_count(value: Any) -> bool:
    """A number, or a tensor that holds one: how many updates were made."""
    if isinstance(value, Tensor):
        return is_plain_tensor(value) and value.numel() == 1 and value.is_floating_point()
    return type(value) in (int, float)


def _is_moment(value: Any, parameter: Tensor) -> bool:
    """Nothing yet, or a dense tensor of the parameter's shape."""
    if isinstance(value, Tensor):
        return is_plain_tensor(value) and value.shape == parameter.shape and value.is_floating_point()
    return value is None


def restore_state(
    fabric: Any, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainState, where: Path
) -> None:
    """Puts a saved state back into a model, its optimizer and the gradient scaler of float16.

    Args:
        fabric: device and precision, whose gradient scaler is restored too.
        model: the model whose tensors are overwritten.
        optimizer: the optimizer whose moments are overwritten.
        state: where the run was, as `load_state` gave it.
        where: the file that messages begin with.

    Raises CheckpointError naming what does not fit.
    """
    if state.average:
        load_into(model, state.average, where=where)  # looks at its names and shapes; the weights themselves follow
    load_into(model, state.model, where=where)
    restore_optimizer(optimizer, state.optimizer, where)
    if state.scaler:
        try:
            fabric.strategy.precision.load_state_dict(state.scaler)
        except (KeyError, RuntimeError, TypeError) as error:
            message = f"holds a gradient scaler's state that is not one ({error})"
            raise CheckpointError(Problem(where, message, "start a new run")) from error
