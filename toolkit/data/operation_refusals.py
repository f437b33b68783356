"""What albumentations says of arguments it refuses, in this project's words: the argument, what it takes, what it got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.errors import Problem

_BOUNDS = {
    "greater_than_equal": ("at least", "ge"), "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"), "less_than": ("less than", "lt"),
}  # fmt: skip
_TYPES = {
    "tuple_type": "a list", "list_type": "a list", "dict_type": "a mapping", "int_type": "a whole number",
    "int_parsing": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
    "float_parsing": "a number", "bool_type": "true or false", "bool_parsing": "true or false", "string_type": "text",
    "missing_argument": "more values", "too_short": "more values", "too_long": "fewer values",
}  # fmt: skip


def refusals(operation: str, error: Exception) -> list[Problem]:
    """One problem an argument, its name as the place; one without a place when the operation refuses them together."""
    details = _details(error)
    if not details:
        lines = [line.strip() for line in str(error).splitlines() if "errors.pydantic.dev" not in line]
        return [Problem("", f"transform '{operation}': {' '.join(lines)}")]
    by_argument: dict[str, list[Mapping[str, Any]]] = {}
    for detail in details:
        by_argument.setdefault(str(detail["loc"][0]) if detail["loc"] else "", []).append(detail)
    return [_problem(operation, argument, found) for argument, found in by_argument.items()]


def _details(error: BaseException | None) -> Sequence[Mapping[str, Any]]:
    """pydantic's list of faults, which albumentations wraps in a plain ValueError."""
    for _ in range(4):
        if error is None:
            break
        listed = getattr(error, "errors", None)
        if callable(listed):
            return list(listed())
        error = error.__cause__ or error.__context__
    return []


def _problem(operation: str, argument: str, details: Sequence[Mapping[str, Any]]) -> Problem:
    if not argument:
        return Problem("", f"transform '{operation}': {_sentence(str(details[0]['msg']))}")
    wanted = list(dict.fromkeys(_wanted(detail) for detail in details))
    found = details[0].get("input")
    shown = list(found) if isinstance(found, tuple) else found
    return Problem(argument, f"'{argument}' of transform '{operation}': wanted {' or '.join(wanted)}, found {shown!r}")


def _wanted(detail: Mapping[str, Any]) -> str:
    kind, context = detail["type"], detail.get("ctx") or {}
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"{word} {context[key]}"
    if kind == "literal_error":
        return str(context.get("expected", "one of its choices"))
    return _TYPES.get(kind) or _sentence(str(detail["msg"]))


def _sentence(message: str) -> str:
    """Without pydantic's beginnings, and (for numbers in a pair) without the numbers that are said anyway.

    >>> _sentence("Value error, All values in (90, 200) must be >= 1 and <= 100")
    'all values >= 1 and <= 100'
    """
    text = message.removeprefix("Value error, ").removeprefix("Input should be ").removesuffix(" instead")
    if text.startswith("All values in (") and ") must be " in text:
        return f"all values {text.partition(') must be ')[2]}"
    if text.startswith("First value should be less than the second value"):
        return "a first value that is less than the second"
    return text[:1].lower() + text[1:]
