"""A checked config back into plain values and YAML text, complete with every default; and how two configs differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from toolkit.config.sections import Config, PartSpec, TrainSection
from toolkit.config.signatures import Schema
from toolkit.config.values import without_null
from toolkit.config.words import part_kind

_LONGEST = 200
"""Letters of a value in a message."""


def to_plain(value: Any) -> Any:
    """Sections, parts and their arguments as dicts, lists and scalars; defaults filled in from the signatures."""
    if isinstance(value, PartSpec):
        return {"name": value.name, **_completed(value.signature, value.arguments)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        if isinstance(value, TrainSection) and value.epochs is not None:
            del fields["steps"]  # they follow from the epochs
        return fields
    if isinstance(value, dict):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def _completed(signature: Schema, given: Mapping[str, Any]) -> dict[str, Any]:
    written = {}
    for name, argument in signature.get("properties", {}).items():
        inner, _ = without_null(argument)
        if name in given:
            is_section = "properties" in inner and given[name] is not None
            written[name] = _completed(inner, given[name]) if is_section else to_plain(given[name])
        elif "default" in argument and part_kind(inner) is None:
            written[name] = argument["default"]
    # Arguments that follow from the rest, once somebody has set them.
    return written | {name: to_plain(value) for name, value in given.items() if name not in written}


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
    for dataset in _datasets_that_follow(plain):
        del dataset["root"]
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _datasets_that_follow(plain: dict[str, Any]) -> list[dict[str, Any]]:
    """The data sets whose `root` is `data.root`."""
    data = plain["data"]
    found = [(data[split] or {}).get("dataset", {}) for split in ("train", "val", "test")]
    return [dataset for dataset in found if data["root"] is not None and dataset.get("root") == data["root"]]


def flattened(config: Config) -> dict[str, Any]:
    """Every single value of a config by its dotted key, defaults included."""
    return dict(_leaves(to_plain(config), ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path, value
        return
    for key, item in items:
        yield from _leaves(item, f"{path}.{key}" if path else str(key))


class Difference(NamedTuple):
    """One key whose value differs between two configs.

    Args:
        key: dotted place in the config ("train.steps").
        old: plain values, None where there was or is none.
        new: plain values, None where there was or is none.
    """

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key} was {_shown(self.old)} and is now {_shown(self.new)}"


def differences(old: Config, new: Config) -> list[Difference]:
    """Every place where two configs differ, defaults included, in the order of the keys.

    A part of another name, and lists of other lengths, are one difference each. Data sets that only follow `data.root`
    do not repeat it.
    """
    plain = [to_plain(old), to_plain(new)]
    for one in plain:
        for dataset in _datasets_that_follow(one):
            dataset["root"] = None
    return _differences(plain[0], plain[1], "")


def _differences(old: Any, new: Any, path: str) -> list[Difference]:
    if isinstance(old, dict) and isinstance(new, dict) and (old.get("name") == new.get("name") or not path):
        keys = [*old, *(key for key in new if key not in old)]
        return [one for key in keys for one in _differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    if isinstance(old, dict) and isinstance(new, dict) and path == "train.optimizer":
        return [Difference(f"{path}.name", old.get("name"), new.get("name"))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new) and _is_of_mappings(old + new):
        return [
            one
            for place, pair in enumerate(zip(old, new, strict=True))
            for one in _differences(*pair, f"{path}.{place}")
        ]
    same = old == new and isinstance(old, bool) is isinstance(new, bool)
    return [] if same else [Difference(path, old, new)]


def _is_of_mappings(values: list[Any]) -> bool:
    return all(isinstance(value, dict) for value in values)


def _shown(value: Any) -> str:
    """As it would stand in a config, on one line."""
    if isinstance(value, (dict, list)):
        text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6).strip()
    else:
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."
