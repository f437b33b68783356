"""What somebody probably meant who wrote a value of another type, or a key where it does not belong."""

from __future__ import annotations

import types
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from toolkit.config.annotations import is_section, without_none
from toolkit.config.sections import Config
from toolkit.config.signatures import constructor_arguments
from toolkit.errors import did_you_mean

_YES = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def how_to_write(annotation: Any, found: Any) -> str:
    """What to write for a value of the wrong type, where that can be told; else ""."""
    plain, optional = without_none(annotation)
    if isinstance(found, str):
        return _for_text(plain, optional, found)
    members = list(_members(plain))
    if type(found) is float and found.is_integer() and abs(found) < 1e15 and int in members and float not in members:
        return f"write {int(found)}"
    if str in members and type(found) in (int, float, bool):
        return f'text in quotes: "{str(found).lower() if isinstance(found, bool) else found}"'
    return ""


def _for_text(plain: Any, optional: bool, found: str) -> str:
    word = found.strip().lower()
    members = list(_members(plain))
    if optional and word in ("none", "nil", "nan", ""):
        return "for none write null"
    if bool in members and (word in _YES or word in ("true", "false")):
        return f"write {_YES.get(word, word)}"
    if (int in members and _is(int, word)) or (float in members and _is(float, word)):
        return f"without quotes: {found.strip()}"
    choices = [choice for choice in get_args(plain) if isinstance(choice, str)] if get_origin(plain) is Literal else []
    close = did_you_mean(found, choices) if choices else ""
    return close if close.startswith("did") else ""


def _is(kind: type, word: str) -> bool:
    try:
        kind(word)
    except ValueError:
        return False
    return word.isascii()


def _members(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, bounds left out; of a choice, those of its values."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated or hasattr(annotation, "__metadata__"):
        yield from _members(inner[0])
    elif origin in (Union, types.UnionType):
        for member in inner:
            yield from _members(member)
    elif origin is Literal:
        yield from {type(choice) for choice in inner} - {str}
    else:
        yield annotation


def belongs_to(key: str) -> str:
    """Where a key of another section stands ("it is data.batch_size"), or ""."""
    places = _places().get(key, ())
    return f"it is {' or '.join(places)}" if places else ""


@cache
def _places() -> dict[str, tuple[str, ...]]:
    places: dict[str, tuple[str, ...]] = {}
    for place in _fields(Config, ""):
        key = place.rpartition(".")[2]
        places[key] = (*places.get(key, ()), place)
    return places


def _fields(section: type, prefix: str) -> Iterator[str]:
    for name, argument in constructor_arguments(section).items():
        yield prefix + name
        inner, _ = without_none(argument.annotation)
        if is_section(inner):
            yield from _fields(inner, f"{prefix}{name}.")
