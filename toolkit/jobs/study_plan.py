"""The runs of a study: one for each fold, seed, share of the training images and value of a key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import yaml

from toolkit.config.division import follows
from toolkit.config.plain import to_plain
from toolkit.config.sections import Config
from toolkit.errors import ConfigError, Place, Problem

_OPTIONS = Place("command line")


class Asked(NamedTuple):
    """What a study varies.

    Args:
        folds: parts of the training data, each measured once; None takes the config's own splits.
        seeds: trainings that differ in the seed alone; None takes the config's.
        shares: per cents of the training images, 0 to 100.
        vary: "KEY=a,b" each, whose values are laid over the config in turn.
    """

    folds: int | None = None
    seeds: int | None = None
    shares: tuple[float, ...] = ()
    vary: tuple[str, ...] = ()


class Planned(NamedTuple):
    """One training of a study.

    Args:
        name: of its run folder in the study's folder.
        setting: what of it is asked about, such as "share 50"; runs of one setting are averaged.
        overrides: what is laid over the config, as on the command line.
    """

    name: str
    setting: str
    overrides: tuple[str, ...]


class _Choice(NamedTuple):
    name: str
    setting: str
    overrides: tuple[str, ...]


def planned_runs(config: Config, asked: Asked) -> list[Planned]:
    """Every run of a study, in order. Raises ConfigError for options that ask for nothing, or for what cannot be.

    Args:
        config: the config of the study, with the overrides that all runs share.
        asked: what differs between the runs.
    """
    kinds = [
        *(_varied(text) for text in asked.vary),
        [_Choice(f"share_{share:g}", f"share {share:g} %", (f"data.share={share / 100:g}",)) for share in asked.shares],
        _folds(config, asked.folds),
        [_Choice(f"seed_{n}", "", (f"seed={n}",)) for n in range(config.seed, config.seed + (asked.seeds or 0))],
    ]
    problems = [*_impossible(config, asked)]
    if problems:
        raise ConfigError(problems)
    found: dict[str, Planned] = {}
    for choices in product(*(kind for kind in kinds if kind)):
        name = "_".join(choice.name for choice in choices)
        setting = ", ".join(choice.setting for choice in choices if choice.setting)
        if name in found:
            raise ConfigError(Problem(_OPTIONS, f"two runs would be called {name}", "name each value once"))
        found[name] = Planned(name, setting, tuple(text for choice in choices for text in choice.overrides))
    return list(found.values())


def _impossible(config: Config, asked: Asked) -> list[Problem]:
    problems = []
    if not (asked.folds or asked.seeds or asked.shares or asked.vary):
        remedy = "--folds 5, --seeds 3, --shares 25,50,100 or --vary KEY=a,b"
        problems.append(Problem(_OPTIONS, "nothing differs between the runs of the study", remedy))
    if asked.folds is not None and asked.folds < 2:
        problems.append(Problem("--folds", f"wanted 2 or more, found {asked.folds}"))
    if asked.seeds is not None and asked.seeds < 1:
        problems.append(Problem("--seeds", f"wanted how many seeds, 1 or more, found {asked.seeds}"))
    if not all(0 < share <= 100 for share in asked.shares):
        problems.append(Problem("--shares", "wanted per cents of the training images, above 0 and up to 100"))
    if asked.folds is not None and config.data.split is not None and config.data.split.lists is not None:
        message = "data.split.lists says which images are measured, so there are no folds"
        problems.append(Problem("--folds", message, "add data.split.lists=null"))
    if config.train.devices != 1:
        message = f"a study trains in one process, one run after the other; train.devices is {config.train.devices}"
        problems.append(Problem("train.devices", message, "add train.devices=1"))
    if config.data.val is None and asked.folds is None:
        problems.append(Problem("data.val", "there is nothing to measure by", "add data.split, or ask for --folds 5"))
    if not config.evaluate.evaluators:
        problems.append(
            Problem("evaluate.evaluators", "the config names no evaluator, so there is no number to compare")
        )
    return problems


def _folds(config: Config, folds: int | None) -> list[_Choice]:
    """The folds of `data.train`'s data set; a `val` of other data gets that data set, and keeps its transforms."""
    if folds is None:
        return []
    shared: tuple[str, ...] = (f"data.split.folds={folds}",)
    val = config.data.val
    if val is not None and not follows(config, "val"):
        dataset = to_plain(config.data.train.dataset)
        if to_plain(val.dataset) != dataset:
            shared = (*shared, f"data.val.dataset={_flow(dataset)}")
    return [_Choice(f"fold_{n}", "", (*shared, f"data.split.fold={n}")) for n in range(folds)]


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9).strip()


def _varied(text: str) -> list[_Choice]:
    """KEY=a,b as a choice a value; commas inside brackets and quotes part nothing."""
    key, equals, values = text.partition("=")
    if not equals or not key or not values:
        raise ConfigError(Problem("--vary", f"wanted KEY=a,b, found '{text}'", "--vary train.optimizer.lr=0.001,0.003"))
    leaf = key.split(".")[-1]
    return [_Choice(f"{leaf}_{_plain(value)}", f"{key}={value}", (f"{key}={value}",)) for value in _parted(values)]


def _parted(values: str) -> list[str]:
    found, depth, quote = [""], 0, ""
    for sign in values:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        depth += (sign in "[{") - (sign in "]}")
        if sign == "," and not depth and not quote:
            found.append("")
        else:
            found[-1] += sign
    return [value.strip() for value in found if value.strip()]


def _plain(value: str) -> str:
    """A value as part of a folder's name."""
    return re.sub(r"[^\w.+-]+", "_", value).strip("_.")[:60] or "empty"


def shares_of(text: str) -> tuple[float, ...]:
    """Per cents written "25,50,100" as numbers. Raises ConfigError for anything else."""
    try:
        return tuple(float(part.strip().rstrip("%")) for part in text.split(",") if part.strip())
    except ValueError:
        message = f"wanted per cents with commas between, found '{text}'"
        raise ConfigError(Problem("--shares", message, "--shares 25,50,100")) from None


def as_json(runs: Sequence[Planned]) -> list[dict[str, Any]]:
    """The runs in plain values, to be compared when a study goes on."""
    return [{"name": run.name, "setting": run.setting, "overrides": list(run.overrides)} for run in runs]
