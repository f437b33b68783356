"""What a run continues from, and whether its config is still the same experiment."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from toolkit.config.load import parse_config
from toolkit.config.plain import Difference, differences
from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.engine.checkpoint import TrainState, load_state
from toolkit.engine.log import RunLog
from toolkit.engine.run_folder import RunFolder
from toolkit.errors import ConfigError, Problem
from toolkit.jobs.conventions import as_trained
from toolkit.models.vision_model import VisionModel

_FEW = 5
"""Differences that are shown of a folder that belongs to another experiment."""
_FREE = {
    "name",
    "data.workers",
    *(f"train.{name}" for name in ("device", "devices", "nodes", "threads", "log_every", "save_every", "loggers")),
}
"""Where and how the work is done, and how often it is told: the training stays the same."""


class NewRun(NamedTuple):
    """A training from its first step.

    Args:
        folder: where it is wanted; unless `exact`, the next free number after it is taken.
        exact: whether the user named this very folder.
        again: whether the folder is that of a run which ended before it saved anything.
        state: always None here: nothing was saved.
        config: always None here: there is no earlier one.
        skipped: always None here: no sample was left out before.
        splits: always None here: the data were not divided before.
    """

    folder: RunFolder
    exact: bool
    again: bool = False

    state: None = None
    config: None = None
    skipped: None = None
    splits: None = None


class SavedRun(NamedTuple):
    """A training that goes on.

    Args:
        folder: the run's folder, locked by this process.
        state: everything that was saved at its last step.
        config: the config that the run was made with.
    """

    folder: RunFolder
    state: TrainState
    config: Config

    @property
    def skipped(self) -> Path:
        """The record of samples that are left out."""
        return self.folder.skipped

    @property
    def splits(self) -> Path:
        """The folder of the lists by which the data were divided."""
        return self.folder.splits


def resolve(
    base: Path, *, exact: bool, resume: bool, locked: bool = True, trust: bool | Container[str] = False
) -> NewRun | SavedRun:
    """What a training begins with: nothing, or what its folder holds.

    Args:
        base: run folder; its numbered siblings (`base-2` ...) belong to it unless `exact`.
        exact: whether the user named this very folder.
        resume: whether a run that is there is continued; False leaves it alone.
        trust: names of the form module:Class in the state that may be imported (see `parse_config`).
        locked: whether this process locks the folder it continues in; one of those that train together does.

    Raises ConfigError when there is no such run, CheckpointError for a damaged state.
    """
    if not resume:
        return NewRun(RunFolder(base), exact)
    folder = RunFolder.to_continue(base, exact=exact, locked=locked)
    if not folder.state.is_file():
        return NewRun(folder, exact=True, again=True)
    state = load_state(folder.state)
    config = parse_config(state.config, f"{folder.state} (config)", trust=trust)
    return SavedRun(folder, state, as_trained(config, state.conventions))


def changes_of(saved: SavedRun, config: Config, model: VisionModel, *, allowed: bool = False) -> list[Difference]:
    """How a config differs from the one its run was started with, harmless differences included.

    Where and how the work is done may change, and `train.steps` may be raised; everything else needs `allowed`, and
    another architecture, class list or optimizer is refused even so.

    Args:
        saved: the run that is to go on.
        config: what is asked for now.
        model: the net as the new config builds it.
        allowed: whether the training may be another from here on (`--allow-changes`).

    Raises:
        ConfigError: all differences, old and new value, that stand in the way.
    """
    found = differences(saved.config, config)
    refused = _refused(saved.state, config, model, found)
    asked = [str(one) for one in found if not allowed and _needs_flag(one, saved) and str(one) not in refused]
    if refused or asked:
        where = f"--resume {saved.folder.path}"
        remedy = "a run goes on with the config it began with; --allow-changes lets this change, from here on"
        problems = [Problem(where, message, remedy) for message in asked]
        problems += [Problem(where, message, instead) for message, instead in refused.items()]
        if len(problems) > _FEW and _misfit(saved.state.model, model.state_dict()):
            raise ConfigError(_another_run(saved, saved.config, config, model, problems))
        raise ConfigError(problems)
    return found


def compare_images(saved: SavedRun, datasets: Mapping[str, Dataset], *, allowed: bool = False) -> list[str]:
    """What is to be said when a run goes on with another number of images than it began with.

    Args:
        saved: the run, whose `environment.json` says how many there were (runs of older versions do not).
        datasets: by split, as they are now.
        allowed: whether the training images may be others (`--allow-changes`).

    Raises ConfigError for training data of another number: the order of the images would not be the run's.
    """
    then = _of_its_environment(saved, "images")
    told = {
        split: f"data.{split} had {then[split]} images when the run began, now there are {len(dataset)}"
        for split, dataset in datasets.items()
        if isinstance(then, dict) and then.get(split, len(dataset)) != len(dataset)
    }
    if "train" in told and not allowed:
        remedy = "bring the data back to what it was, or start a new run; --allow-changes goes on with what is there"
        raise ConfigError(Problem(f"--resume {saved.folder.path}", told["train"], remedy))
    return list(told.values())


def compare_precision(saved: SavedRun, now: str) -> list[str]:
    """What is to be said when `auto` means another number format than where the run began.

    Args:
        saved: the run, whose `environment.json` says what it meant there (runs of older versions do not).
        now: what it means here, as `precision_on` gives it.
    """
    then = _of_its_environment(saved, "precision")
    if then in (None, now):
        return []
    return [f"the run began with {then} numbers, and goes on with {now}: not the same to the bit"]


def _of_its_environment(saved: SavedRun, entry: str) -> Any:
    """An entry of the run's `environment.json`; None where there is none."""
    try:
        return json.loads(saved.folder.environment.read_text(encoding="utf-8")).get(entry)
    except (OSError, ValueError, AttributeError):
        return None


def _another_run(
    saved: SavedRun, was: Config, config: Config, model: VisionModel, problems: list[Problem]
) -> list[Problem]:
    """One sentence, and the first few differences, for a folder that belongs to another experiment."""
    path = saved.folder.path
    classes = len(saved.state.classes)
    asked = f"{_net(config)}, {len(model.classes)} classes"
    message = f"holds another run ({_net(was)}, {classes} classes) than this config asks for ({asked})"
    remedy = f"continue it with its own config, {saved.folder.config}, or start a new run with another --run"
    few = [problem.advising("") for problem in problems[:_FEW]]
    more = Problem(f"--resume {path}", f"and {len(problems) - _FEW} more differences")
    return [Problem(f"--resume {path}", message, remedy), *few, more]


def _net(config: Config) -> str:
    model = config.model
    return " -> ".join(part.name for part in (model.backbone, model.neck, model.head) if part is not None)


def _needs_flag(one: Difference, saved: SavedRun) -> bool:
    if one.key == "train.steps":  # more are free, too few are refused
        return bool(saved.state.step <= one.new < one.old)
    if one.key == "data.cache":  # pixels differ by a gray level on a device
        return "device" in (one.old, one.new)
    return one.key not in _FREE


def _refused(state: TrainState, config: Config, model: VisionModel, found: list[Difference]) -> dict[str, str]:
    """What no flag lets change, each with what to do instead."""
    refused: dict[str, str] = {}
    if config.train.steps < state.step:
        message = f"train.steps is {config.train.steps}, but the run has made {state.step} already"
        refused[message] = f"ask for {state.step} or more"
    for one in found:
        if one.key == "train.optimizer.name":
            refused[str(one)] = "its moments are of another kind; start a new run, with model.init_from these weights"
    if state.classes and tuple(state.classes) != tuple(model.classes):
        message = f"the classes were {_names(state.classes)} and are now {_names(model.classes)}"
        refused[message] = "a run keeps its classes; start a new one with model.init_from, which matches them by name"
    misfit = _misfit(state.model, model.state_dict())
    if misfit:
        parts = ("model.backbone", "model.neck", "model.head")
        causes = [str(one) for one in found if one.key.startswith(parts)]
        for cause in causes or ([] if refused else [misfit]):
            refused[cause] = "its weights are of another architecture; start a new run, model.init_from takes what fits"
    return refused


def _misfit(saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """The first tensor that the saved weights and the model do not share; "" when they agree."""
    for name in [*own, *saved]:
        kinds = [_kind(tensors[name]) if name in tensors else "absent" for tensors in (saved, own)]
        if kinds[0] != kinds[1]:
            return f"tensor {name} was {kinds[0]} and is now {kinds[1]}"
    return ""


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _names(names: Sequence[str]) -> str:
    return f"{len(names)} ({', '.join(list(names)[:12])}{' ...' if len(names) > 12 else ''})"


_CHANGED = "# changed at step"


def config_file_text(saved: SavedRun, changes: list[Difference], text: str) -> str:
    """The text of a run's config.yaml: the config, under a line for each change since the run began.

    Args:
        saved: the run that goes on, whose file may hold earlier changes.
        changes: what is different from this step on.
        text: the resolved config as YAML text.
    """
    lines = _change_lines(saved.folder.config)
    lines += [f"{_CHANGED} {saved.state.step}: {one}" for one in changes]
    return "".join(f"{line}\n" for line in lines) + text


def _change_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):  # it is only a record: a lost one stops nothing
        return []
    return [line for line in lines if line.startswith(_CHANGED)]


def say_changes(log: RunLog, saved: SavedRun, changes: Sequence[Difference]) -> None:
    """What is different from here on, to the log; what `--allow-changes` let through is an event too.

    Args:
        log: the log of the run that goes on.
        saved: where the run stands, and the config it had.
        changes: what is different from this step on.
    """
    for one in changes:
        if one.key != "train.steps":  # the start screen tells
            log.line(f"note       {one}")
    events = {one.key: [one.old, one.new] for one in changes if _needs_flag(one, saved)}
    if events:
        log.event(step=saved.state.step, changed=events)
