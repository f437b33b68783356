"""What a run continues from, and whether its config is still the same experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from toolkit.config.load import parse_config
from toolkit.config.plain import Difference, differences
from toolkit.config.sections import Config
from toolkit.engine.checkpoint import TrainState, load_state
from toolkit.engine.log import RunLog
from toolkit.engine.run_folder import RunFolder
from toolkit.errors import ConfigError, Problem
from toolkit.models.vision_model import VisionModel

_FEW = 5
"""Differences that are shown of a folder that belongs to another experiment."""
_FREE = {
    "name",
    "data.workers",
    *(f"train.{name}" for name in ("device", "devices", "nodes", "threads", "log_every", "save_every", "loggers")),
}
"""Where and how the work is done, and how often it is told: the training stays the same."""


class Saved(NamedTuple):
    """folder: of the run. state: None when it ended before its first save. config: None when not even that was written."""

    folder: RunFolder
    state: TrainState | None
    config: Config | None

    @property
    def step(self) -> int:
        """Optimizer updates made."""
        return self.state.step if self.state else 0


def saved_run(folder: RunFolder) -> Saved:
    """What a run folder holds to continue from. Raises CheckpointError for a damaged state, ConfigError for its config."""
    if not folder.state.is_file():
        return Saved(folder, None, None)
    state = load_state(folder.state)
    return Saved(folder, state, parse_config(state.config, f"{folder.state} (config)"))


def changes_of(saved: Saved, config: Config, model: VisionModel, *, allowed: bool = False) -> list[Difference]:
    """How a config differs from the one its run was started with, harmless differences included.

    model: as the new config builds it. Where and how the work is done may change, and `train.steps` may be raised;
    everything else needs `allowed`, and another architecture, class list or optimizer is refused even so. Raises
    ConfigError with all differences, old and new value, that stand in the way.
    """
    if saved.state is None or saved.config is None:
        return []
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


def _another_run(
    saved: Saved, was: Config, config: Config, model: VisionModel, problems: list[Problem]
) -> list[Problem]:
    """One sentence, and the first few differences, for a folder that belongs to another experiment."""
    path = saved.folder.path
    classes = len(saved.state.classes) if saved.state else 0
    asked = f"{_net(config)}, {len(model.classes)} classes"
    message = f"holds another run ({_net(was)}, {classes} classes) than this config asks for ({asked})"
    remedy = f"continue it with its own config, {saved.folder.config}, or start a new run with another --run"
    few = [problem.advising("") for problem in problems[:_FEW]]
    more = Problem(f"--resume {path}", f"and {len(problems) - _FEW} more differences")
    return [Problem(f"--resume {path}", message, remedy), *few, more]


def _net(config: Config) -> str:
    model = config.model
    return " -> ".join(part.name for part in (model.backbone, model.neck, model.head) if part is not None)


def _needs_flag(one: Difference, saved: Saved) -> bool:
    if one.key == "train.steps":  # more are free, too few are refused
        return bool(saved.step <= one.new < one.old)
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


def config_file_text(saved: Saved | None, changes: list[Difference], text: str) -> str:
    """The text of a run's config.yaml: the config, under a line for each change since the run began."""
    if saved is None or saved.state is None:
        return text
    lines = _change_lines(saved.folder.config)
    lines += [f"{_CHANGED} {saved.step}: {one}" for one in changes]
    return "".join(f"{line}\n" for line in lines) + text


def _change_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):  # it is only a record: a lost one stops nothing
        return []
    return [line for line in lines if line.startswith(_CHANGED)]


def say_changes(log: RunLog, saved: Saved, changes: Sequence[Difference]) -> None:
    """What is different from here on, to the log; what `--allow-changes` let through is an event too."""
    if saved.state is None:
        log.line("note       the run ended before it saved anything: it starts from the beginning")
    for one in changes:
        if one.key != "train.steps":  # the start screen tells
            log.line(f"note       {one}")
    events = {one.key: [one.old, one.new] for one in changes if _needs_flag(one, saved)}
    if events:
        log.event(step=saved.step, changed=events)
