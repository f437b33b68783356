"""Plain values against their schema: read as the constructor wants them, or refused at the place that is wrong.

The reading is strict, as pydantic's strict reading of JSON: a list may fill a tuple and a whole number a float; text
never becomes a number, and `true` is none (in a choice of numbers pydantic takes it for 1). Of several types a value
takes the one that it is already.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator
from typing import Any

from toolkit.config.signatures import Schema

_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "exclusiveMinimum": operator.gt,
    "minimum": operator.ge,
    "exclusiveMaximum": operator.lt,
    "maximum": operator.le,
}
_SIMPLE: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (float, int),
    "boolean": (bool,),
    "string": (str,),
    "null": (type(None),),
}
Steps = tuple[str | int, ...]


class MisfitError(Exception):
    """A value that its schema does not allow.

    Args:
        steps: keys and list positions from the value that was read to the wrong one.
        schema: what may stand there, as a JSON Schema.
        value: the value that does not fit.
    """

    def __init__(self, steps: Steps, schema: Schema, value: Any) -> None:
        super().__init__(steps, value)
        self.steps, self.schema, self.value = steps, schema, value


def read_value(schema: Schema, value: Any, *, exact: bool = False) -> Any:
    """The value as its constructor gets it. Raises MisfitError.

    Args:
        schema: schema of the argument, as `signatures.signature_schema` writes it.
        value: what stands there: dicts, lists and scalars, as a YAML file holds them.
        exact: whether a whole number is refused where a number with a fraction is wanted.
    """
    if "x-type" in schema:
        return _foreign(schema, value)
    if "anyOf" in schema:
        return _one_of(schema, value, exact)
    if "enum" in schema:
        for choice in schema["enum"]:
            if value == choice and isinstance(value, bool) is isinstance(choice, bool):
                return choice
        raise MisfitError((), schema, value)
    kind = schema.get("type")
    if kind == "array":
        return _array(schema, value, exact)
    if kind == "object":
        return _mapping(schema, value, exact)
    if kind is None:
        return value
    if type(value) not in _SIMPLE[kind][: 1 if exact else None] or not _within(schema, value):
        raise MisfitError((), schema, value)
    return float(value) if kind == "number" else value


def without_null(schema: Schema) -> tuple[Schema, bool]:
    """(the schema of X, True) for "X or null", else (schema, False). Other words beside the choice stay behind."""
    members = schema.get("anyOf", ())
    rest = [member for member in members if member.get("type") != "null"]
    if len(rest) == len(members):
        return schema, False
    return (rest[0] if len(rest) == 1 else {"anyOf": rest}), True


def numbers_in(value: Any) -> Iterator[int]:
    """Whole numbers anywhere in a value."""
    if type(value) is int:
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from numbers_in(item)


def _within(schema: Schema, value: Any) -> bool:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:  # half a letter: no file and no terminal holds it
            return False
        return _length_fits(schema, len(value), "Length")
    return all(holds(value, schema[name]) for name, holds in _BOUNDS.items() if name in schema)


def _length_fits(schema: Schema, length: int, what: str) -> bool:
    return bool(schema.get(f"min{what}", 0) <= length <= schema.get(f"max{what}", length))


def _one_of(schema: Schema, value: Any, exact: bool) -> Any:
    plain, optional = without_null(schema)
    if optional:
        return None if value is None else read_value(plain, value, exact=exact)
    for strictly in (True,) if exact else (True, False):
        for member in schema["anyOf"]:
            try:
                return read_value(member, value, exact=strictly)
            except MisfitError:  # noqa: PERF203 - a few types
                continue
    raise MisfitError((), schema, value)


def _array(schema: Schema, value: Any, exact: bool) -> Any:
    if not isinstance(value, list) or not _length_fits(schema, len(value), "Items"):
        raise MisfitError((), schema, value)
    each = schema.get("prefixItems") or [schema.get("items", {})] * len(value)
    read = [_inside(step, item, found, exact) for step, (item, found) in enumerate(zip(each, value, strict=True))]
    return tuple(read) if schema.get("x-tuple") else read


def _mapping(schema: Schema, value: Any, exact: bool) -> Any:
    if not isinstance(value, dict) or not _length_fits(schema, len(value), "Properties"):
        raise MisfitError((), schema, value)
    keys, each = schema.get("propertyNames", {}).get("enum"), schema.get("additionalProperties", {})
    read = {}
    for key, item in value.items():
        try:
            name = _whole(key) if schema.get("x-keys") == "integer" else _text(key)
        except ValueError:
            raise MisfitError((), schema, value) from None
        if keys is not None and name not in keys:
            raise MisfitError((), schema, value)
        read[name] = _inside(key, each, item, exact)
    return read


def _inside(step: Any, schema: Schema, value: Any, exact: bool) -> Any:
    try:
        return read_value(schema, value, exact=exact)
    except MisfitError as misfit:
        raise MisfitError((step, *misfit.steps), misfit.schema, misfit.value) from None


def _whole(key: Any) -> int:
    if isinstance(key, (bool, float)) or not _text(key).lstrip("+-").isdecimal():
        raise ValueError(key)
    return int(key)


def _text(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _foreign(schema: Schema, value: Any) -> Any:
    """A type of somebody's own part, by pydantic, which is imported for that only."""
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    try:
        return TypeAdapter(schema["x-type"]).validate_json(json.dumps(value), strict=True)
    except ValidationError:
        raise MisfitError((), schema, value) from None
    except (PydanticUserError, TypeError):  # a type that no YAML file could hold (an array, say)
        raise MisfitError((), {**schema, "x-unwritable": True}, value) from None
