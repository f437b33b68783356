"""What somebody probably meant who wrote a value of another type, or a key where it does not belong."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from toolkit.config.sections import Config
from toolkit.config.signatures import Schema, signature_schema
from toolkit.config.values import without_null
from toolkit.errors import did_you_mean

_YES = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}


def how_to_write(schema: Schema, found: Any) -> str:
    """What to write for a value of the wrong type, where that can be told; else ""."""
    plain, optional = without_null(schema)
    types = set(_types(plain))
    if isinstance(found, str):
        return _for_text(plain, types, optional, found)
    if type(found) is float and found.is_integer() and abs(found) < 1e15 and "integer" in types - {"number"}:
        return f"write {int(found)}" if "number" not in types else ""
    if "string" in types and type(found) in (int, float, bool):
        return f'text in quotes: "{str(found).lower() if isinstance(found, bool) else found}"'
    return ""


def _for_text(plain: Schema, types: set[str], optional: bool, found: str) -> str:
    word = found.strip().lower()
    if optional and word in ("none", "nil", "nan", ""):
        return "for none write null"
    if "boolean" in types and (word in _YES or word in ("true", "false")):
        return f"write {_YES.get(word, word)}"
    if ("integer" in types and _is(int, word)) or ("number" in types and _is(float, word)):
        return f"without quotes: {found.strip()}"
    choices = [choice for choice in plain.get("enum", ()) if isinstance(choice, str)]
    close = did_you_mean(found, choices) if choices else ""
    return close if close.startswith("did") else ""


def _is(kind: type, word: str) -> bool:
    try:
        kind(word)
    except ValueError:
        return False
    return word.isascii()


def _types(schema: Schema) -> Iterator[str]:
    """The JSON types that a schema allows; of a choice, those of its values that are no text."""
    for member in schema.get("anyOf", ()):
        yield from _types(member)
    if "type" in schema:
        yield schema["type"]
    yield from (_TYPES[type(choice)] for choice in schema.get("enum", ()) if type(choice) in (int, float, bool))


def belongs_to(key: str) -> str:
    """Where a key of another section stands ("it is data.batch_size"), or ""."""
    places = _places().get(key, ())
    least = min((place.count(".") for place in places), default=0)  # `seed` before `data.split.seed`
    nearest = [place for place in places if place.count(".") == least]
    return f"it is {' or '.join(nearest)}" if nearest else ""


@cache
def _places() -> dict[str, tuple[str, ...]]:
    places: dict[str, tuple[str, ...]] = {}
    for place in _fields(signature_schema(Config, {}), ""):
        key = place.rpartition(".")[2]
        places[key] = (*places.get(key, ()), place)
    return places


def _fields(section: Schema, prefix: str) -> Iterator[str]:
    for name, argument in section["properties"].items():
        yield prefix + name
        inner, _ = without_null(argument)
        if "properties" in inner:
            yield from _fields(inner, f"{prefix}{name}.")
