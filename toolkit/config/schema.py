"""The JSON Schema of configs for editors, from the description of all parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.config.parts import Parts
from toolkit.config.sections import KINDS

_OWN_CODE = {"type": "string", "pattern": "^[^:]+:[^:]+$", "description": "module:Class of your own"}


def editor_schema(parts: Parts) -> dict[str, Any]:
    """Draft 2020-12, self-contained. Whatever the check accepts it accepts; names of the form module:Class with any arguments."""
    kinds = {plural: _kind(parts, word, plural) for word, plural in KINDS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "toolkit config",
        **_plain({key: value for key, value in parts.schema.items() if key != "$defs"}, parts),
        "$defs": kinds
        | {name: {"enum": known["enum"]} for name, known in parts.schema["$defs"].items() if _is_names(name)},
    }


def _kind(parts: Parts, word: str, plural: str) -> dict[str, Any]:
    """A part by its name alone where it needs no argument, or a mapping for each name."""
    described = {name: parts.part(word, name) for name in parts.names(word, foreign=True)}
    # `root` of a data set may come from data.root.
    required = {
        name: [argument for argument in part["required"] if (plural, argument) != ("datasets", "root")]
        for name, part in described.items()
    }
    alone = [name for name in described if not required[name]]
    mappings = [
        {
            **_plain(part, parts),
            "properties": _plain(part["properties"], parts)
            | {"name": {"const": name, "description": part["description"]}},
            "required": sorted({"name", *required[name]}),
        }
        for name, part in described.items()
    ]
    own = {"type": "object", "properties": {"name": _OWN_CODE}, "required": ["name"]}
    return {"anyOf": [{"enum": alone}, _OWN_CODE, *mappings, own]}


def _plain(schema: Any, parts: Parts) -> Any:
    """Without our own words; text that is one of somebody's names offers them and takes any."""
    if isinstance(schema, list):
        return [_plain(item, parts) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: _plain(value, parts) for key, value in schema.items() if not str(key).startswith("x-")}
    if isinstance(schema.get("x-known"), str):
        found["anyOf"] = [{"$ref": f"#/$defs/names.{schema['x-known']}".replace(" ", "%20")}, {"type": "string"}]
    return found


def _is_names(definition: str) -> bool:
    return definition.startswith("names.")
