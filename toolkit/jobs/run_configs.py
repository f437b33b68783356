"""Configs of finished runs side by side: which keys differ, quickly, without building anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from toolkit.errors import DataError, Problem

CONFIG_FILE = "config.yaml"
NO_RECIPE = ("seed", "name")
"""Keys that two trainings of one recipe may differ in."""
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's reads a config in 2 ms instead of 20


def flat_config(run: Path) -> dict[str, Any]:
    """Every key of a run's resolved config with its plain value. Raises DataError when it cannot be read.

    Elements of lists count as parts of one value, so that a longer list is one difference.
    """
    file = run / CONFIG_FILE
    try:
        value = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise DataError(Problem(file, f"cannot be read: {reason}")) from error
    if not isinstance(value, Mapping):
        raise DataError(Problem(file, "is no config: wanted keys and values"))
    return _flat(value)


def recipe_of(config: Mapping[str, Any]) -> str:
    """A text that two runs share when their configs differ in the seed and the name alone."""
    return json.dumps(
        {key: value for key, value in config.items() if key not in NO_RECIPE}, sort_keys=True, default=str
    )


def differing(configs: Sequence[Mapping[str, Any]], ignored: Sequence[str] = ("name",)) -> list[str]:
    """The keys whose values are not the same in all configs, in the order of the first that has each.

    Args:
        configs: values by dotted key, a mapping a run.
        ignored: keys that are not looked at.

    >>> differing([{"seed": 0, "train.steps": 5}, {"seed": 0, "train.steps": 9, "data.root": "x"}])
    ['train.steps', 'data.root']
    """
    keys = list(dict.fromkeys(key for config in configs for key in config))
    first = configs[0] if configs else {}
    return [
        key for key in keys if key not in ignored
        and any((key in other) != (key in first) or other.get(key) != first.get(key) for other in configs)
    ]  # fmt: skip


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            found |= _flat(item, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = item
    return found
