"""Every registered name with its parameters, types, defaults and first line of documentation."""

from __future__ import annotations

import inspect
from typing import Any

import toolkit.config.load  # noqa: F401 - registers the parts
from toolkit.config.annotations import describe_type, is_section, without_none
from toolkit.config.plain import to_plain
from toolkit.config.schema import arguments_of
from toolkit.config.signatures import MISSING
from toolkit.contracts import REGISTRIES
from toolkit.data.classes.tables import class_table, preset_names


def catalogue(kind: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """{kind: [{"name", "summary", "parameters": [{"name", "type", "required", "default"}]}]}, all kinds or one."""
    if kind == "classes":
        return {"classes": [_preset(name) for name in preset_names()]}
    kinds = REGISTRIES if kind is None else {kind: REGISTRIES[kind]}
    return {
        name: [_entry(part, cls, registry.injected) for part, cls in registry.items()]
        for name, registry in kinds.items()
    }


def _entry(name: str, cls: type, injected: tuple[str, ...]) -> dict[str, Any]:
    summary = (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")
    parameters = _parameters(cls, injected)
    return {"name": name, "summary": summary, "parameters": parameters}


def _parameters(cls: type, hidden: tuple[str, ...] = (), prefix: str = "") -> list[dict[str, Any]]:
    """A constructor's parameters; those of a nested settings dataclass by their dotted names."""
    found = []
    for argument in arguments_of(cls).values():
        if argument.name in hidden:
            continue
        nested, _ = without_none(argument.annotation)
        if is_section(nested):
            found += _parameters(nested, prefix=f"{prefix}{argument.name}.")
            continue
        entry = {"name": prefix + argument.name, "type": describe_type(argument.annotation)}
        required = argument.default is MISSING
        found.append({**entry, "required": required, "default": None if required else _plain(argument.default)})
    return found


def _plain(default: Any) -> Any:
    plain = to_plain(default)
    return plain if isinstance(plain, (str, int, float, bool, list, dict, type(None))) else str(plain)


def _preset(name: str) -> dict[str, Any]:
    names = class_table(name).names
    return {"name": name, "summary": f"{len(names)} classes: {', '.join(names)}", "parameters": []}
