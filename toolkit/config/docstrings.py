"""What a class' docstring says: its first paragraph, and a sentence for each argument from its Google `Args:` section."""

from __future__ import annotations

import inspect
import re

_HEADING = re.compile(r"^(Args|Arguments|Attributes|Fields):\s*$")
_ENTRY = re.compile(r"^(\*{0,2}\w+(?:, *\w+)*)\s*(?:\([^)]*(?:\([^)]*\)[^)]*)*\))?:\s*(.*)$")


def summary(cls: type) -> str:
    """The first paragraph on one line; "" for a class without a docstring."""
    return " ".join((inspect.cleandoc(cls.__doc__ or "")).split("\n\n")[0].split())


def whole(cls: type) -> str:
    """The docstring without its sections (`Args:`, `Raises:` ...), paragraphs apart."""
    lines = inspect.cleandoc(cls.__doc__ or "").splitlines()
    end = next((at for at, line in enumerate(lines) if re.fullmatch(r"[A-Z][A-Za-z]+:\s*", line)), len(lines))
    return "\n".join(lines[:end]).strip()


def argument_help(cls: type) -> dict[str, str]:
    """{argument: help} from the `Args:` sections of a class and of the classes it derives from.

    A shared entry, `height, width: pixels`, counts for each of its names.
    """
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base is not object:
            found |= arguments_in(vars(base).get("__doc__") or "")
            found |= arguments_in(getattr(vars(base).get("__init__"), "__doc__", None) or "")
    return found


def arguments_in(docstring: str) -> dict[str, str]:
    r"""{argument: help} of one docstring.

    >>> arguments_in("Adds.\n\nArgs:\n    a (int): the first\n        number\n    b, c: others\n\nReturns:\n    d: x")
    {'a': 'the first number', 'b': 'others', 'c': 'others'}
    """
    lines = iter(inspect.cleandoc(docstring).splitlines())
    if not any(_HEADING.match(line) for line in lines):
        return {}
    found: dict[str, list[str]] = {}
    names: list[str] = []
    indent = None
    for line in lines:
        if not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        if depth == 0:
            break
        indent = depth if indent is None else indent
        entry = _ENTRY.match(line.strip()) if depth == indent else None
        if entry:
            names = [name.strip(" *") for name in entry[1].split(",")]
            found |= {name: [entry[2]] for name in names}
        else:
            for name in names:
                found[name].append(line.strip())
    return {name: " ".join(filter(None, words)) for name, words in found.items()}
