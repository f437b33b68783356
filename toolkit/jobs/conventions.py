"""What trained weights depend on and an older file does not say: kept with the weights, and put back when they load."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.config.sections import Config, PartSpec
from toolkit.contracts import Head
from toolkit.jobs.part_classes import part_class

log = logging.getLogger(__name__)


def as_trained(
    config: Config, noted: Mapping[str, str], file: str | Path | None = None, overrides: Sequence[str] = ()
) -> Config:
    """The config that weights were trained under, where a setting has meant something else since.

    Args:
        config: the config as it stands beside the weights, or as a run is continued with it.
        noted: the `conventions` that the file holds, {setting below the head: value}; they are what the weights know.
        file: file for the warning that is logged for every setting that no note tells of; None says nothing.
        overrides: `key=value` of the command line, which is left as it asks.
    """
    head = config.model.head
    former: Mapping[str, Mapping[str | None, str]] = getattr(part_class(head.kind, head.name), "former_settings", {})
    for key, meant in former.items():
        value = _value(head, key.split("."))
        right = noted.get(key, meant.get(value))
        if right is None or right == value or any(one.startswith(f"model.head.{key}=") for one in overrides):
            continue
        head = _changed(head, key.split("."), right)
        if key not in noted and file is not None:
            message = "%s: its weights are older than what model.head.%s means today, and keep '%s'"
            log.warning(message, file, key, right)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, head=head))


def say_other_conventions(head: Head, noted: Mapping[str, str], file: str | Path) -> None:
    """Logs a warning for every setting that weights were trained with otherwise than the model they start is built.

    Args:
        head: the head of the model that is started.
        noted: settings the weights were trained with, by name.
        file: file of the weights, for the warnings.
    """
    for key, meant in head.former_settings.items():
        was, now = noted.get(key, " or ".join(dict.fromkeys(meant.values()))), head.setting(key)
        if was != now:
            log.warning("%s: trained with model.head.%s '%s', but this model has '%s'", file, key, was, now)


def conventions_of(head: Head) -> dict[str, str]:
    """What a weights file notes of a head: the value of every setting that once meant something else."""
    return {key: head.setting(key) for key in head.former_settings}


def _value(head: PartSpec, keys: list[str]) -> Any:
    """The setting as the config gives it; None where it leaves it to the default."""
    value: Any = head.arguments
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
    return value


def _changed(head: PartSpec, keys: list[str], to: str) -> PartSpec:
    return dataclasses.replace(head, arguments=_with(head.arguments, keys, to))


def _with(value: Any, keys: list[str], to: str) -> Any:
    if not keys:
        return to
    first, *rest = keys
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{first: _with(getattr(value, first), rest, to)})
    inner = dict(value or {})
    return {**inner, first: _with(inner.get(first), rest, to)}
