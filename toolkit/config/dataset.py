"""A data set that is named on the command line instead of in a config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.config.load import described
from toolkit.config.overrides import override
from toolkit.config.parts import Parts
from toolkit.config.sections import PartSpec
from toolkit.config.source import Source, parse
from toolkit.config.validate import ConfigValidator
from toolkit.errors import ConfigError


def dataset_part(name: str, root: Path, arguments: Sequence[str] = ()) -> tuple[PartSpec, list[str] | None]:
    """The data set of that name over a folder, checked, and the list `classes` where the data set is told it.

    Args:
        name: a registered name, or `module:Class`.
        root: folder that the data set reads, its argument `root`.
        arguments: "key=value" texts, values in YAML.

    Raises:
        ConfigError: with every mistake in name and arguments.
    """
    source = parse("{}", "command line")
    override(source, arguments)
    return described(lambda parts: _part(source, parts, name, root))


def _part(source: Source, parts: Parts, name: str, root: Path) -> tuple[PartSpec, list[str] | None]:
    values: dict[str, Any] = {"name": name, "root": str(root), **source.values}
    classes = None
    if "classes" in values and "classes" not in parts.part("dataset", name)["properties"]:
        classes = values.pop("classes")
    validator = ConfigValidator(source, parts)
    part = validator.part("dataset", values, ())
    if validator.problems:
        raise ConfigError(validator.problems)
    return part, classes
