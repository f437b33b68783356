"""From a file name to a checked `Config`. Needs no torch, but for names of somebody's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from toolkit.config.describe_parts import live_parts
from toolkit.config.overrides import override
from toolkit.config.parts import Parts, is_current, shipped_parts
from toolkit.config.paths import read, stored_config, weights_file
from toolkit.config.sections import Config
from toolkit.config.source import Source, parse
from toolkit.config.validate import ConfigValidator, valid_sections
from toolkit.errors import ConfigError

T = TypeVar("T")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads and checks a config file; `overrides` are "train.steps=100" strings. Builds nothing.

    Raises ConfigError with every problem of the file at once: place, what was wanted, what was found, near names.
    """
    return _named(_checked(read(Path(path), overrides)), Path(path).stem)


def parse_config(text: str, file: str, overrides: Sequence[str] = ()) -> Config:
    """As `load_config`, from text.

    Args:
        text: the config as YAML text.
        file: what messages call it, and whose stem names a config without `name`.
        overrides: "train.steps=100" strings, laid over the text.
    """
    source: Source = parse(text, file)
    override(source, overrides)
    return _named(_checked(source), Path(file).stem)


def load_valid_sections(path: str | Path, overrides: Sequence[str] = ()) -> tuple[Config, frozenset[str]]:
    """What is right in a faulty config: see `validate.valid_sections`. Raises ConfigError for a file that is no config."""
    return valid_sections(read(Path(path), overrides), shipped_parts())


def refuse_wrong_weights(path: str, overrides: Sequence[str] = ()) -> None:
    """Raises CheckpointError for a path without weights, ConfigError for overrides that do not fit the config in them.

    A file that is damaged is left to be found by whoever reads it whole.
    """
    file = weights_file(path)
    text = stored_config(file) if overrides else None
    if text is not None:
        parse_config(text, f"{file} (config)", overrides)


def current_parts() -> Parts:
    """The shipped description; made anew where somebody has changed a signature since."""
    shipped = shipped_parts()
    return shipped if is_current(shipped.schema) else live_parts()


def described(ask: Callable[[Parts], T]) -> T:
    """An answer by the shipped description; by the classes where it refuses and is older than they are.

    Raises ConfigError as `ask` does.
    """
    shipped = shipped_parts()
    try:
        return ask(shipped)
    except ConfigError:
        if is_current(shipped.schema):
            raise
    return ask(live_parts())


def _checked(source: Source) -> Config:
    return described(lambda parts: ConfigValidator(source, parts).config())


def _named(config: Config, name: str) -> Config:
    return config if config.name else dataclasses.replace(config, name=name)
