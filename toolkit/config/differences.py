"""How two configs differ: every key, with the old and the new value."""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml

from toolkit.config.plain import to_plain
from toolkit.config.sections import Config

_LONGEST = 200


class Difference(NamedTuple):
    """key: dotted place. old, new: plain values, None where there was or is none."""

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
    return _differences(_without_roots(to_plain(old)), _without_roots(to_plain(new)), "")


def _without_roots(plain: dict[str, Any]) -> dict[str, Any]:
    data = plain["data"]
    for split in ("train", "val", "test"):
        dataset = (data[split] or {}).get("dataset", {})
        if data["root"] is not None and dataset.get("root") == data["root"]:
            dataset["root"] = None
    return plain


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
