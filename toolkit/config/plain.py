"""A checked config back into plain values and YAML text: complete, with every default written out."""

from __future__ import annotations

import dataclasses
from typing import Any

import yaml

from toolkit.config.annotations import part_of, without_none
from toolkit.config.schema import arguments_of
from toolkit.config.sections import Config, PartSpec
from toolkit.config.signatures import MISSING


def to_plain(value: Any) -> Any:
    """Sections, parts and their arguments as dicts, lists and scalars; defaults filled in from the signatures."""
    if isinstance(value, PartSpec):
        return {"name": value.name, **_arguments(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def _arguments(part: PartSpec) -> dict[str, Any]:
    written = {}
    for name, argument in arguments_of(part.cls).items():
        if name in part.arguments:
            written[name] = to_plain(part.arguments[name])
        elif argument.default is not MISSING and part_of(without_none(argument.annotation)[0]) is None:
            written[name] = to_plain(argument.default)
    return {name: value for name, value in written.items() if not _is_injected(part, name)}


def _is_injected(part: PartSpec, name: str) -> bool:
    return name not in part.arguments and name in ("spec", "num_classes", "classes", "class_names")


class _Dumper(yaml.SafeDumper):
    """Short lists on one line, as people write them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    short = all(not isinstance(value, (list, dict)) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=short)


_Dumper.add_representer(list, _list)


def to_yaml(config: Config) -> str:
    """The resolved config as YAML text; loading it again gives an equal config.

    Data sets whose `root` is `data.root` do not repeat it, so that `data.root=elsewhere` still moves them.
    """
    plain = to_plain(config)
    data = plain["data"]
    for split in ("train", "val", "test"):
        dataset = (data[split] or {}).get("dataset", {})
        if data["root"] is not None and dataset.get("root") == data["root"]:
            del dataset["root"]
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
