"""The types of arguments as a config sees them: what they are made of, and how they are said in words.

Annotations are in *config form*: a part is `Annotated[PartSpec, PartOf("loss")]`, a group of arguments is a dataclass
(or, when signatures were read from a file, a `StandIn`), everything else is a plain Python type. Nothing here needs
torch.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Union, get_args, get_origin

from toolkit.config.sections import PartOf


class Argument(NamedTuple):
    """One argument of a constructor or one field of a section. default: `MISSING` when it has none."""

    name: str
    annotation: Any
    default: Any


class StandIn:
    """Base of classes that stand for a part or a group of arguments of which only the signature is known."""

    signature: ClassVar[Mapping[str, Argument]] = {}
    is_section: ClassVar[bool] = False

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments


def part_of(annotation: Any) -> PartOf | None:
    """The kind of part an annotation in config form stands for, or None."""
    return next((mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, PartOf)), None)


def is_section(annotation: Any) -> bool:
    """Whether an annotation is a group of arguments: a mapping in the config."""
    if not isinstance(annotation, type):
        return False
    return dataclasses.is_dataclass(annotation) or (issubclass(annotation, StandIn) and annotation.is_section)


def without_none(annotation: Any) -> tuple[Any, bool]:
    """(`X`, True) for `X | None`, else (annotation, False)."""
    if get_origin(annotation) in (Union, types.UnionType):
        members = get_args(annotation)
        rest = tuple(member for member in members if member is not type(None))
        if len(rest) < len(members):
            return (rest[0] if len(rest) == 1 else Union[rest]), True  # noqa: UP007 - built at run time
    return annotation, False


def list_item(annotation: Any) -> Any | None:
    """`X` for `list[X]` or `tuple[X, ...]`, else None."""
    if get_origin(annotation) in (list, tuple) and get_args(annotation):
        return get_args(annotation)[0]
    return None


def describe_type(annotation: Any) -> str:
    """An annotation in words: "a whole number greater than 0", "'same' or 'valid'", "a list of numbers, or null"."""
    plain, optional = without_none(annotation)
    text = _words(plain)
    return f"{text}, or null" if optional else text


def _words(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    part = part_of(annotation)
    if part:
        return f"{with_article(part.kind)} (a name, or a mapping with 'name')"
    if hasattr(annotation, "__metadata__"):
        bounds = " and ".join(filter(None, (_bound(bound) for bound in annotation.__metadata__)))
        return f"{_words(args[0])} {bounds}".rstrip()
    if origin is Literal:
        return " or ".join(f"'{choice}'" if isinstance(choice, str) else json.dumps(choice) for choice in args)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(member) for member in args)
    if origin is list or (origin is tuple and len(args) == 2 and args[1] is ...):
        return f"a list, each {_words(args[0]).removeprefix('a ')}"
    if origin is tuple:
        return f"a list of {len(args)} values"
    if origin in (dict, Mapping) or is_section(annotation):
        return "a mapping"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Any: "anything"}
    names |= {list: "a list", dict: "a mapping", type(None): "null"}
    return names.get(annotation) or str(getattr(annotation, "__name__", annotation))


def with_article(word: str) -> str:
    """`a loss`, `an optimizer`."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _bound(bound: Any) -> str:
    words = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}
    parts = [f"{word} {getattr(bound, key)}" for key, word in words.items() if getattr(bound, key, None) is not None]
    if getattr(bound, "min_length", None):
        parts.append(f"with at least {bound.min_length}")
    return " and ".join(parts)
