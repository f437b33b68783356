"""Types of arguments in words: "a whole number greater than 0", "'same' or 'valid'", "a list of numbers, or null"."""

from __future__ import annotations

import json

from toolkit.config.sections import KINDS
from toolkit.config.signatures import Schema
from toolkit.config.values import without_null

_WORDS = {plural: word for word, plural in KINDS.items()}
_ONE = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text", "null": "null"}
_MANY = {"integer": "whole numbers", "number": "numbers", "boolean": "true or false", "string": "texts"}
_BOUNDS = {
    "exclusiveMinimum": "greater than",
    "minimum": "at least",
    "exclusiveMaximum": "less than",
    "maximum": "at most",
}


def describe_type(schema: Schema) -> str:
    """What a value of a schema is, as it stands in "wanted ...".

    >>> describe_type({"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "null"}]})
    'a list of numbers, or null'
    >>> describe_type({"type": "integer", "minimum": 1, "maximum": 5})
    'a whole number from 1 to 5'
    """
    plain, optional = without_null(schema)
    text = _words(plain)
    return f"{text}, or null" if optional else text


def part_kind(schema: Schema) -> str | None:
    """The word of the kind ("loss") when a schema stands for a part, else None."""
    return _WORDS.get(schema.get("$ref", "").rpartition("/")[2])


def with_article(word: str) -> str:
    """`a loss`, `an optimizer`."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _words(schema: Schema) -> str:
    kind = part_kind(schema)
    if kind:
        return f"{with_article(kind)} (a name, or a mapping with 'name')"
    if "title" in schema:
        return str(schema["title"])
    if "anyOf" in schema:
        return _joined([_words(member) for member in schema["anyOf"]])
    if "enum" in schema:
        return " or ".join(
            f"'{choice}'" if isinstance(choice, str) else json.dumps(choice) for choice in schema["enum"]
        )
    if schema.get("type") == "array":
        return _list(schema)
    if schema.get("type") == "object":
        return "a mapping"
    return f"{_ONE.get(schema.get('type', ''), 'anything')} {_bounds(schema)}".rstrip()


def _joined(words: list[str]) -> str:
    """`a, b or c`, with a comma before the last where one of them has an "or" of its own."""
    *first, last = words
    return (
        f"{', '.join(first)}{', or ' if len(words) > 2 or any(' or ' in word for word in words[:-1]) else ' or '}{last}"
    )


def _list(schema: Schema) -> str:
    if "prefixItems" in schema:
        kinds = {item.get("type", "") for item in schema["prefixItems"]}
        each = _MANY.get(kinds.pop(), "values") if len(kinds) == 1 else "values"
        return f"a list of {len(schema['prefixItems'])} {each}"
    item = schema.get("items", {})
    inner = item.get("type", "")
    length = f", at least {schema['minItems']}" if schema.get("minItems") else ""
    if inner in ("integer", "number", "string") and "title" not in item and "enum" not in item:
        return f"a list of {_MANY[inner]} {_bounds(item)}".rstrip() + length
    return ("a list" if not item else f"a list, each {_words(item).removeprefix('a ')}") + length


def _bounds(schema: Schema) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f"from {schema['minimum']} to {schema['maximum']}"
    found = [f"{word} {schema[name]}" for name, word in _BOUNDS.items() if name in schema]
    if schema.get("minLength"):
        found.append(f"with at least {schema['minLength']} letter{'s' if schema['minLength'] > 1 else ''}")
    return " and ".join(found)
