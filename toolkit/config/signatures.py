"""Constructors as JSON Schema: every argument of a part or section with its type, bounds, default and help.

This is the one form in which the package speaks of arguments. `parts.json` holds it for all parts, the check reads it,
`toolkit list` and editors show it. Words beginning with "x-" are our own; editors pass over them:

    x-tuple      the array becomes a tuple
    x-keys       "integer": the mapping's keys are whole numbers (in JSON, and so for editors, they are text)
    x-known      text that is one of the names of `$defs["names.WORD"]`
    x-type       a live Python type of somebody's own that JSON Schema cannot spell (never on file)
    x-class      "module:Class" of a part; x-injected: its arguments that follow from the other parts and the data
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from toolkit.bounds import NamesOf
from toolkit.config.docstrings import argument_help, summary
from toolkit.config.sections import KINDS, PartOf

MISSING: Any = inspect.Parameter.empty
Schema = Mapping[str, Any]

_PLAIN: dict[Any, dict[str, Any]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    list: {"type": "array"},
    tuple: {"type": "array", "x-tuple": True},
    dict: {"type": "object"},
    Any: {},
}


class Argument(NamedTuple):
    """One argument of a constructor.

    Args:
        name: name of the argument in the constructor.
        annotation: its type, as the signature has it.
        default: its default, `MISSING` when it has none.
    """

    name: str
    annotation: Any
    default: Any


def constructor_arguments(cls: type) -> dict[str, Argument]:
    """Every argument of a class' constructor with its resolved annotation, as it is written in the signature."""
    is_section = dataclasses.is_dataclass(cls)
    owner: Any = cls if is_section else next(base for base in cls.__mro__ if "__init__" in vars(base))
    hints = typing.get_type_hints(owner if is_section else owner.__init__, include_extras=True)
    factories = {field.name: field.default_factory for field in dataclasses.fields(cls)} if is_section else {}
    found = {}
    for parameter in inspect.signature(cls).parameters.values():
        made = factories.get(parameter.name, dataclasses.MISSING)
        default = made() if callable(made) else parameter.default
        found[parameter.name] = Argument(parameter.name, hints.get(parameter.name, parameter.annotation), default)
    return found


def signature_schema(
    cls: type, kinds: Mapping[type, str], injected: Sequence[str] = (), settable: Sequence[str] = ()
) -> dict[str, Any]:
    """The object schema of a section or part: its arguments as properties.

    Args:
        cls: a dataclass, or a class whose constructor is typed throughout.
        kinds: base classes of parts and the word of their kind, {PixelLoss: "loss"}: such an argument is itself a part.
        injected: names of arguments that follow from the other parts and the data, listed under "x-injected".
        settable: those of them that may be set by hand all the same, and never have to be; the others are no properties.
    """
    help_of = argument_help(cls)
    properties, required, left_out = {}, [], []
    for argument in constructor_arguments(cls).values():
        if argument.name in injected:
            left_out.append(argument.name)
            if argument.name not in settable:
                continue
        entry = _type_schema(argument.annotation, kinds)
        if argument.name in help_of:
            entry["description"] = help_of[argument.name]
        if argument.name in injected:
            pass  # what it is, is known when the part is built
        elif argument.default is MISSING:
            required.append(argument.name)
        elif not (isinstance(argument.default, int) and argument.default <= entry.get("exclusiveMinimum", -math.inf)):
            entry["default"] = plain_value(argument.default)  # one outside of the bounds only says "not given"
        properties[argument.name] = entry
    found = {"type": "object", "description": summary(cls), "properties": properties, "required": required}
    return {**found, "additionalProperties": False, **({"x-injected": left_out} if left_out else {})}


def plain_value(value: Any) -> Any:
    """Sections as dicts and tuples as lists: what a YAML or JSON file would hold. Anything odd becomes text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_value(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {plain_value(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def construct(annotation: Any, value: Any) -> Any:
    """A mapping as the section that an annotation asks for, sections inside it too; any other value as it is."""
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    section = next((member for member in members if dataclasses.is_dataclass(member)), None)
    if section is None or not isinstance(value, dict):
        return value
    known = constructor_arguments(section)  # type: ignore[arg-type]
    return section(**{name: construct(known[name].annotation, item) for name, item in value.items()})  # type: ignore[operator]


def _type_schema(annotation: Any, kinds: Mapping[type, str]) -> dict[str, Any]:
    word = kinds.get(annotation) if isinstance(annotation, type) else None
    if word is not None:
        return {"$ref": f"#/$defs/{KINDS[word]}"}
    if annotation in _PLAIN if _is_hashable(annotation) else False:
        return dict(_PLAIN[annotation])
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return signature_schema(annotation, kinds)
    origin, inner = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _marked(_type_schema(inner[0], kinds), annotation)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_type_schema(member, kinds) for member in inner]}
    if origin is tuple and inner and inner[-1] is not ...:
        items = [_type_schema(member, kinds) for member in inner]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items), "x-tuple": True}
    if origin in (list, tuple, Sequence) and inner:
        return {
            "type": "array",
            "items": _type_schema(inner[0], kinds),
            **({"x-tuple": True} if origin is tuple else {}),
        }
    if origin in (dict, Mapping) and inner:
        return _mapping(inner[0], _type_schema(inner[1], kinds))
    return {"x-type": annotation, "title": str(getattr(annotation, "__name__", annotation))}


def _is_hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


def _mapping(key: Any, values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "additionalProperties": values}
    if key is int:
        return {**found, "propertyNames": {"pattern": "^[-+]?[0-9]+$"}, "x-keys": "integer"}
    if get_origin(key) is Literal:
        return {**found, "propertyNames": {"enum": list(get_args(key))}}
    return found


def _marked(schema: dict[str, Any], annotation: Any) -> dict[str, Any]:
    """A schema with the bounds, names or kind that an annotation's metadata adds."""
    length = {"string": "Length", "array": "Items", "object": "Properties"}.get(schema.get("type", ""), "Items")
    for mark in annotation.__metadata__:
        if isinstance(mark, PartOf):
            return {"$ref": f"#/$defs/{KINDS[mark.kind]}"}
        if isinstance(mark, NamesOf):
            schema |= {"x-known": mark.word, "title": mark.said}
            continue
        bounds = {
            "exclusiveMinimum": getattr(mark, "gt", None),
            "minimum": getattr(mark, "ge", None),
            "exclusiveMaximum": getattr(mark, "lt", None),
            "maximum": getattr(mark, "le", None),
            f"min{length}": getattr(mark, "min_length", None) or None,
            f"max{length}": getattr(mark, "max_length", None),
        }
        found = {name: bound for name, bound in bounds.items() if bound is not None}
        if not found:  # a mark of somebody's own: only its library knows what it asks
            return {"x-type": annotation, "title": str(annotation)}
        schema |= found
    return schema
