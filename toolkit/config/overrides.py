"""`key=value` arguments of a command line, laid over a config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.config.source import KeyPath, Source, dotted, parse_value
from toolkit.errors import ConfigError, Place, Problem
from toolkit.files import what_is

_COMMAND_LINE = Place("command line")


def override(source: Source, overrides: Sequence[str]) -> None:
    """Applies `a.b=value` in order; values are YAML, a missing section is made, `a.+=value` adds to the list `a`.

    Raises ConfigError, all at once.
    """
    problems = []
    items = list(overrides)
    while items:
        item = items.pop(0)
        key, equals, text = item.partition("=")
        if not equals or not key or not text.strip():
            problems.append(_misshapen(item, items))
            continue
        where = _COMMAND_LINE._replace(key=key)
        try:
            value = parse_value(text, where)
        except ConfigError as error:
            problems += error.problems
            continue
        problem = _assign(source, key.split("."), value, where)
        if problem:
            problems.append(problem)
    if problems:
        raise ConfigError(problems)


def _misshapen(item: str, rest: list[str]) -> Problem:
    """What is said of an argument that is no `key=value`; takes from `rest` what belongs to it."""
    key, equals, _ = item.partition("=")
    if not item.strip():
        return Problem(_COMMAND_LINE, "an empty argument", "remove it, or write key=value")
    if equals and key:
        message = f"nothing stands after '{item}'"
        return Problem(_COMMAND_LINE._replace(key=key), message, f"give a value: {key}=VALUE, or {key}=null for none")
    if not equals and rest and rest[0].startswith("="):  # spaces around the '='
        value = rest.pop(0)[1:] or (rest.pop(0) if rest else "VALUE")
        return Problem(_COMMAND_LINE, f"'{item} = {value}' has spaces", f"write {item}={value}")
    kind = what_is(Path(item))
    if not equals and rest and "=" not in rest[0] and "." in item and not kind:
        value = rest.pop(0)
        return Problem(_COMMAND_LINE, f"'{item} {value}' has no '='", f"write {item.rstrip(':')}={value}")
    if kind == "folder":
        return Problem(_COMMAND_LINE, f"'{item}' is a folder; wanted key=value", f"for the run folder: --run {item}")
    if kind == "file":
        return Problem(
            _COMMAND_LINE, f"'{item}' is a file; wanted key=value", "give one file, and changes as key=value"
        )
    return Problem(_COMMAND_LINE, f"'{item}' is not of the form key=value", "write train.steps=300, without spaces")


def _assign(source: Source, names: list[str], value: Any, where: Place) -> Problem | None:
    node: Any = source.values
    path: KeyPath = ()
    for position, name in enumerate(names):
        last = position == len(names) - 1
        key: str | int = name
        if isinstance(node, list):
            if last and name == "+":
                name = str(len(node))
                node.append(None)
            if not name.isdecimal() or int(name) >= len(node):
                message = (
                    f"{dotted(path)} is a list of {len(node)}; wanted a place 0 to {len(node) - 1}, or + at its end"
                )
                return Problem(where, message)
            key = int(name)
        elif isinstance(node, dict):
            key = int(name) if name.removeprefix("-").isdecimal() and int(name) in node else name
        else:
            return Problem(where, f"{dotted(path)} is a single value and has no '{name}'")
        path = (*path, key)
        if last:
            _forget(source, path)
            node[key] = value
            source.keys[path] = source.marks[path] = _COMMAND_LINE
        else:
            found = node.get(key) if isinstance(node, dict) else node[key]
            if isinstance(found, str) or (isinstance(node, dict) and not isinstance(found, (dict, list))):
                # `model.head.loss.name=dice` over `loss: dice` or over nothing makes the mapping it needs.
                if isinstance(found, str) and path in source.marks:
                    source.marks[(*path, "name")] = source.marks[path]  # the name is still the file's
                node[key] = {"name": found} if isinstance(found, str) else {}
                source.keys[path] = source.marks[path] = _COMMAND_LINE
            node = node[key]
    return None


def _forget(source: Source, path: KeyPath) -> None:
    """Drops the file's marks below a path that is replaced."""
    for table in (source.keys, source.marks):
        for known in [known for known in table if known[: len(path)] == path]:
            del table[known]
