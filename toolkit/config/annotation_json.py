"""Annotations in config form as JSON and back. Reading builds types from a fixed table and executes nothing.

A name ("int", "any") or a list [constructor, ...]: ["list", X], ["tuple", X, "..."], ["union", X, Y],
["literal", [values]], ["bounded", X, {"is": "Gt", "gt": 0}], ["part", "loss"], ["section", "module:Class"].
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types

from toolkit.config.annotations import is_section, part_of
from toolkit.config.sections import PartOf, PartSpec

_NAMES: dict[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "none": type(None),
    "any": Any,
    "list": list,
    "dict": dict,
    "...": ...,
}
_GENERICS: dict[str, Any] = {"list": list, "tuple": tuple, "dict": dict, "sequence": Sequence, "mapping": Mapping}
_BOUNDS: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        annotated_types.Gt,
        annotated_types.Ge,
        annotated_types.Lt,
        annotated_types.Le,
        annotated_types.Interval,
        annotated_types.MinLen,
        annotated_types.MaxLen,
        annotated_types.Len,
    )
}
_SIMPLE = (str, int, float, bool, type(None))


def section_name(section: type) -> str:
    """The name under which a section's arguments are kept."""
    return f"{section.__module__}:{section.__qualname__}"


class NotWritableError(Exception):
    """A type that this form cannot hold; whoever needs it has to look at the class itself."""


def to_json(annotation: Any) -> Any:
    """The JSON of an annotation; a section becomes its name. Raises NotWritableError."""
    part = part_of(annotation)
    if part:
        return ["part", part.kind]
    if is_section(annotation):
        return ["section", section_name(annotation)]
    if hasattr(annotation, "__metadata__"):
        return ["bounded", to_json(get_args(annotation)[0]), *(_bound_to_json(m) for m in annotation.__metadata__)]
    for name, plain in _NAMES.items():
        if annotation is plain:
            return name
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ["literal", [_simple(value) for value in inner]]
    if origin in (Union, types.UnionType):
        return ["union", *map(to_json, inner)]
    for name, generic in _GENERICS.items():
        if origin is generic and inner:
            return [name, *map(to_json, inner)]
    raise NotWritableError(annotation)


def from_json(value: Any, sections: Mapping[str, type]) -> Any:
    """The annotation behind the JSON. Raises ValueError for what `to_json` never writes."""
    if isinstance(value, str) and value in _NAMES:
        return _NAMES[value]
    if not isinstance(value, list) or len(value) < 2 or not isinstance(value[0], str):
        raise ValueError(f"no annotation: {value!r:.80}")
    word, inner = value[0], value[1:]
    if word == "part":
        return Annotated[PartSpec, PartOf(_text(inner[0]))]
    if word == "section" and _text(inner[0]) in sections:
        return sections[inner[0]]
    if word == "literal" and isinstance(inner[0], list) and inner[0]:
        return Literal[tuple(_simple(choice) for choice in inner[0])]
    built = [from_json(item, sections) for item in (inner[:1] if word == "bounded" else inner)]
    if word == "bounded":
        return Annotated[(built[0], *map(_bound_from_json, inner[1:]))]
    if word == "union":
        return Union[tuple(built)]  # noqa: UP007 - built at run time
    if word in _GENERICS:
        return _GENERICS[word][tuple(built)]
    raise ValueError(f"no annotation: {value!r:.80}")


def _bound_to_json(bound: Any) -> dict[str, Any]:
    name = type(bound).__name__
    if type(bound) is not _BOUNDS.get(name):
        raise NotWritableError(bound)
    return {"is": name, **{f.name: _simple(getattr(bound, f.name)) for f in dataclasses.fields(bound)}}


def _bound_from_json(value: Any) -> Any:
    if not isinstance(value, dict) or value.get("is") not in _BOUNDS:
        raise ValueError(f"no bound: {value!r:.80}")
    cls = _BOUNDS[value["is"]]
    names = {field.name for field in dataclasses.fields(cls)}
    given = {name: _simple(item) for name, item in value.items() if name != "is"}
    if not given.keys() <= names:
        raise ValueError(f"no bound: {value!r:.80}")
    return cls(**given)


def _simple(value: Any) -> Any:
    if type(value) not in _SIMPLE:
        raise NotWritableError(value)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"no name: {value!r:.80}")
    return value
