"""From a file name to a checked `Config`. Needs no torch, but for names of somebody's own."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from toolkit.config.describe_parts import live_parts
from toolkit.config.division import with_splits
from toolkit.config.overrides import override
from toolkit.config.parts import Parts, is_current, shipped_parts
from toolkit.config.paths import read, stored_config, weights_file
from toolkit.config.sections import Config, PartSpec
from toolkit.config.source import Source, parse
from toolkit.config.validate import ConfigValidator, valid_sections
from toolkit.errors import ConfigError

T = TypeVar("T")
_OWN_CODE = re.compile(r"[\w.]:[A-Za-z_]")
"""What looks like module:Class in the text of a config."""


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads and checks a config file; `overrides` are "train.steps=100" strings. Builds nothing.

    Raises ConfigError with every problem of the file at once: place, what was wanted, what was found, near names.
    """
    return _named(_checked(read(Path(path), overrides)), Path(path).stem)


def parse_config(
    text: str, file: str, overrides: Sequence[str] = (), *, trust: bool | Container[str] = False
) -> Config:
    """As `load_config`, from text that a checkpoint or another file carries.

    Args:
        text: the config as YAML text.
        file: what messages call it, and whose stem names a config without `name`.
        overrides: "train.steps=100" strings, laid over the text.
        trust: whether parts of the form module:Class that the text names may be imported, which runs that module; or
            the names that may. Names in `overrides` always may.
    """
    source: Source = parse(text, file)
    override(source, overrides)
    return _named(_checked(source, trust), Path(file).stem)


def own_code(config: Config) -> set[str]:
    """The names of the form module:Class that a checked config has, which somebody decided to trust."""
    return {part.name for part in _parts_in(config) if ":" in part.name}


def load_valid_sections(path: str | Path, overrides: Sequence[str] = ()) -> tuple[Config, frozenset[str]]:
    """What is right in a faulty config: see `validate.valid_sections`. Raises ConfigError for a file that is no config."""
    return valid_sections(read(Path(path), overrides), shipped_parts())


def refuse_wrong_weights(path: str, overrides: Sequence[str] = (), *, trust_code: bool = False) -> None:
    """Raises CheckpointError for a path without weights, ConfigError for overrides that do not fit the config in them.

    A file that is damaged is left to be found by whoever reads it whole.

    Args:
        path: a weights file or run folder, as on the command line.
        overrides: "data.root=elsewhere" strings for the config in the file.
        trust_code: whether parts of the form module:Class that the file names may be imported.
    """
    file = weights_file(path)
    text = stored_config(file)
    if text is not None and (overrides or _OWN_CODE.search(text)):
        parse_config(text, f"{file} (config)", overrides, trust=trust_code)


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


def _checked(source: Source, trust: bool | Container[str] = True) -> Config:
    return with_splits(described(lambda parts: ConfigValidator(source, parts, trust).config()), source.where)


def _parts_in(value: Any) -> Iterator[PartSpec]:
    """Every part in a section, an argument or a list, parts inside parts too."""
    if isinstance(value, PartSpec):
        yield value
        value = value.arguments
    elif dataclasses.is_dataclass(value):
        value = vars(value)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _parts_in(item)


def _named(config: Config, name: str) -> Config:
    return config if config.name else dataclasses.replace(config, name=name)
