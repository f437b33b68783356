"""From a file name to a checked `Config`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

# Importing the folders registers what they define.
import toolkit.backbones
import toolkit.data.datasets
import toolkit.engine.optim
import toolkit.evaluators
import toolkit.heads
import toolkit.losses
import toolkit.necks  # noqa: F401
from toolkit.config.config_file import read
from toolkit.config.overrides import override
from toolkit.config.schema import check
from toolkit.config.sections import Config
from toolkit.config.source import Source, parse


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads and checks a config file; `overrides` are "train.steps=100" strings. Builds nothing.

    Raises ConfigError with every problem of the file at once: place, what was wanted, what was found, near names.
    """
    return _named(check(read(Path(path), overrides)), Path(path).stem)


def parse_config(text: str, file: str, overrides: Sequence[str] = ()) -> Config:
    """As `load_config`, from text; `file` is what messages call it."""
    source: Source = parse(text, file)
    override(source, overrides)
    return _named(check(source), Path(file).stem)


def _named(config: Config, name: str) -> Config:
    return config if config.name else dataclasses.replace(config, name=name)
