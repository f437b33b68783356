"""A JSON Schema of configs from the same signatures that the check uses."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import TypeAdapter

import toolkit.config.load  # noqa: F401 - registers the parts
from toolkit.config.annotations import is_section, list_item, without_none
from toolkit.config.schema import arguments_of, registry_of
from toolkit.config.sections import Config
from toolkit.config.signatures import MISSING
from toolkit.contracts import REGISTRIES
from toolkit.registry import Registry


def json_schema() -> dict[str, Any]:
    """Draft 2020-12. Names of the form module:Class and albumentations' transforms are allowed with any arguments."""
    definitions = {name: _registry(registry) for name, registry in REGISTRIES.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "toolkit config",
        **_section(Config),
        "$defs": definitions,
    }


def _section(cls: type) -> dict[str, Any]:
    return _object(cls, ())


def _object(
    cls: type, hidden: tuple[str, ...], name: str | None = None, optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    arguments = {key: value for key, value in arguments_of(cls).items() if key not in hidden}
    properties: dict[str, Any] = {} if name is None else {"name": {"const": name}}
    for key, argument in arguments.items():
        properties[key] = _value(argument.annotation)
    required = [key for key, value in arguments.items() if value.default is MISSING and key not in optional]
    summary = (inspect.getdoc(cls) or "").split("\n\n")[0]
    return {
        "type": "object",
        "description": summary,
        "properties": properties,
        "required": [*(["name"] if name else []), *required],
        "additionalProperties": False,
    }


def _registry(registry: Registry[Any]) -> dict[str, Any]:
    names = registry.names()
    # `root` of a data set may come from data.root.
    parts = [_object(cls, registry.injected, name, ("root",)) for name, cls in registry.items()]
    elsewhere = {
        "type": "object",
        "properties": {"name": {"type": "string", "not": {"enum": names}}},
        "required": ["name"],
    }
    return {"anyOf": [{"type": "string"}, *parts, elsewhere]}


def _value(annotation: Any) -> dict[str, Any]:
    plain, optional = without_none(annotation)
    schema = _plain(plain)
    return {"anyOf": [schema, {"type": "null"}]} if optional else schema


def _plain(annotation: Any) -> dict[str, Any]:
    registry = registry_of(annotation)
    if registry:
        kind = next(name for name, known in REGISTRIES.items() if known is registry)
        return {"$ref": f"#/$defs/{kind}"}
    if is_section(annotation):
        return _section(annotation)
    item = list_item(annotation)
    if item is not None and (registry_of(item) or is_section(item)):
        return {"type": "array", "items": _value(item)}
    try:
        return TypeAdapter(annotation).json_schema()
    except Exception:  # pydantic has many errors for types JSON cannot spell; an editor then offers no help there
        return {}
