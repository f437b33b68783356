"""The lists that `data.split` would make, written beside a config, for this and other tools."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from toolkit.config.division import with_splits
from toolkit.config.sections import Config, DivisionSection
from toolkit.data.splits.lists import write_lists
from toolkit.errors import ConfigError, Place, Problem
from toolkit.jobs.build_data import division_of
from toolkit.jobs.data_folders import data_folders


def write_split(config: Config, rule: DivisionSection, out: Path) -> dict[str, Any]:
    """Divides the training data of a config and writes lists; returns {"written", "splits", "notes", "use"}.

    Args:
        config: the checked config whose training data are divided.
        rule: how they are divided; with folds a folder `fold_0`, `fold_1` ... each.
        out: folder of the lists, which must not hold lists yet nor lie in the data.

    Raises:
        ConfigError: for a folder that holds lists already, or lies in the data.
        DataError: for data that cannot be divided so.
    """
    _refuse(out, config)
    if rule.folds is None:
        rules = {out: rule}
    else:
        rules = {out / f"fold_{fold}": dataclasses.replace(rule, fold=fold) for fold in range(rule.folds)}
    written, notes, sizes = [], dict[str, None](), {}
    for folder, one in rules.items():
        data = dataclasses.replace(config.data, split=one, val=None, test=None)
        parts = division_of(with_splits(dataclasses.replace(config, data=data), _on_command_line))
        assert parts is not None  # the rule stands in the config
        written += [str(path) for path in write_lists(folder, parts)]
        notes |= dict.fromkeys(parts.notes)
        sizes[folder.name] = {split: len(names) for split, names in parts.items()}
    splits = sizes[out.name] if rule.folds is None else sizes
    return {"written": written, "splits": splits, "notes": list(notes), "use": f"data.split.lists={next(iter(rules))}"}


def _on_command_line(path: tuple[str | int, ...]) -> Place:
    return Place("command line", key=".".join(map(str, path)))


def _refuse(out: Path, config: Config) -> None:
    for folder in data_folders(config, {}):
        if out.resolve().is_relative_to(folder.resolve()):
            message = f"{out.absolute()} lies in the data folder {folder.absolute()}, where nothing is written"
            raise ConfigError(Problem("--out", message, "name a folder elsewhere"))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        message = f"{out} is there already and is not empty: lists are made once, and stay"
        raise ConfigError(Problem("--out", message, "name another folder, or remove it"))
