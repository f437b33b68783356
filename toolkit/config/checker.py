"""Walks a whole config along the signatures of what it names, builds nothing, and reports every problem at once.

One recursion serves sections and parts alike: both are callables whose signature says which arguments exist, of
which types, within which bounds. Types are checked by pydantic in its strict JSON reading (a list may fill a tuple,
a whole number a float; text never becomes a number). Nothing here needs torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from toolkit.config.annotations import (
    Argument,
    describe_type,
    is_section,
    list_item,
    part_of,
    with_article,
    without_none,
)
from toolkit.config.remedies import belongs_to, how_to_write
from toolkit.config.sections import Config, PartSpec
from toolkit.config.signatures import MISSING, Kind, Signatures
from toolkit.config.source import Path_, Source, dotted, shortened
from toolkit.errors import ConfigError, Problem, did_you_mean

_FAILED: Any = object()
_LARGEST = (1 << 63) - 1  # what tensors, arrays and files can hold


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any] | None:
    try:
        return TypeAdapter(annotation)
    except PydanticUserError:  # a type pydantic does not know (an array, say): nothing a YAML file could hold
        return None


def _adapter_for(annotation: Any) -> TypeAdapter[Any] | None:
    try:
        return _adapter(annotation)
    except TypeError:  # an annotation that cannot be hashed
        return TypeAdapter(annotation)


class Checker:
    """Walks one config; problems gather in `problems`."""

    def __init__(self, source: Source, signatures: Signatures) -> None:
        self.source = source
        self.signatures = signatures
        self.problems: list[Problem] = []
        self.data_root: Any = None
        self.root_used = False

    def config(self) -> Config:
        """The checked config. Raises ConfigError with every problem."""
        data = self.source.values.get("data")
        self.data_root = data.get("root") if isinstance(data, dict) else None
        result = self.section(Config, self.source.values, ())
        if self.source.given(("data", "root")) and not self.root_used and not self.problems:
            self._add(
                ("data", "root"),
                "changes nothing: every data set has a 'root' of its own",
                "set data.train.dataset.root",
            )
        if self.problems:
            raise ConfigError(sorted(self.problems, key=_line_of))
        return result

    def section(self, cls: type, value: Any, path: Path_) -> Any:
        """A mapping into a section dataclass."""
        if not isinstance(value, Mapping):
            return self._wrong(path, "a mapping", value)
        arguments = self._arguments(cls, value, path, what=f"section '{dotted(path)}'" if path else "a config")
        return _FAILED if arguments is _FAILED else cls(**arguments)

    def part(self, kind: Kind, value: Any, path: Path_) -> Any:
        """A name, or a mapping with `name` and arguments, into a PartSpec."""
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping):
            return self._wrong(path, f"{with_article(kind.kind)}: a name, or a mapping with 'name'", value)
        name = value.get("name")
        if not isinstance(name, str) or name != shortened(name):
            known = did_you_mean("", kind.names())
            if "name" in value:
                self._add((*path, "name"), f"wanted the name of {with_article(kind.kind)}, found {_shown(name)}", known)
            else:
                self._add(path, f"{with_article(kind.kind)} needs a 'name'", known)
            return _FAILED
        try:
            cls = self.signatures.find(kind.kind, name)
        except ConfigError as error:
            place = (*path, "name") if (*path, "name") in self.source.marks else path
            for problem in error.problems:
                self._add(place, problem.message, problem.suggestion)
            return _FAILED
        given = {key: item for key, item in value.items() if key != "name"}
        if "root" in self.signatures.arguments_of(cls) and kind.kind == "dataset" and self.data_root is not None:
            self.root_used = self.root_used or "root" not in given
            given.setdefault("root", self.data_root)
        arguments = self._arguments(cls, given, path, f"{kind.kind} '{name}'", hidden=kind.injected)
        return _FAILED if arguments is _FAILED else PartSpec(name, cls, arguments, path)

    def _arguments(
        self, cls: type, given: Mapping[Any, Any], path: Path_, what: str, hidden: tuple[str, ...] = ()
    ) -> Any:
        """Given arguments, checked. Defaults stay in the signature."""
        known = {name: argument for name, argument in self.signatures.arguments_of(cls).items() if name not in hidden}
        word = "key" if is_section(cls) else "parameter"
        before = len(self.problems)
        for key in given:
            if key not in known:
                where = self.source.where((*path, key), key=True)
                if key in hidden:
                    message = f"'{key}' of {what} is not set by hand: it follows from the other parts and the data"
                    self.problems.append(Problem(where, message, "remove it"))
                else:
                    message = f"{what} has no {word} '{shortened(str(key))}'"
                    self.problems.append(Problem(where, message, self._meant(cls, str(key), known, given, path)))
        misspelt = {
            name for key in given if key not in known for name in get_close_matches(str(key), known, cutoff=0.6)
        }
        result = {}
        for name, argument in known.items():
            if name in given:
                checked = self.value(argument.annotation, given[name], (*path, name))
                result[name] = checked
            elif argument.default is MISSING and name not in misspelt:  # else it is said already
                wanted = describe_type(argument.annotation)
                self._add(path, f"{what} needs '{name}'", f"wanted {wanted}")
        return _FAILED if len(self.problems) > before else result

    def _meant(self, cls: type, key: str, known: Mapping[str, Argument], given: Mapping[Any, Any], path: Path_) -> str:
        """What an unknown key may have meant: a near name, an argument of a part beside it, a key of another section."""
        near = did_you_mean(key, known)
        if near.startswith("did you mean") or not is_section(cls):
            return near
        for name in known:
            part = part_of(without_none(known[name].annotation)[0])
            inner = given.get(name)
            called = inner.get("name") if isinstance(inner, Mapping) else inner
            if part and isinstance(called, str):
                with suppress(ConfigError):
                    if key in self.signatures.arguments_of(self.signatures.find(part.kind, called)):
                        return f"did you mean '{dotted((*path, name, key))}'?"
        return belongs_to(key) or near

    def value(self, annotation: Any, value: Any, path: Path_) -> Any:
        """One argument: a part, a list of parts, a section, or a plain value."""
        plain, optional = without_none(annotation)
        if value is None and optional:
            return None
        part = part_of(plain)
        if part:
            return self.part(self.signatures.kind(part.kind), value, path)
        if is_section(plain):
            return self.section(plain, value, path)
        item = list_item(plain)
        if item is not None and (part_of(item) or is_section(item)):
            if not isinstance(value, list):
                return self._wrong(path, f"a list, each {describe_type(item)}", value)
            return [self.value(item, child, (*path, index)) for index, child in enumerate(value)]
        return self._plain(annotation, value, path)

    def _plain(self, annotation: Any, value: Any, path: Path_) -> Any:
        adapter = _adapter_for(annotation)
        if adapter is None:
            return self._add(path, f"cannot be written in a config (it is {describe_type(annotation)})", "remove it")
        large = next((number for number in _numbers(value) if abs(number) > _LARGEST), None)
        if large is not None:
            return self._add(path, f"wanted {describe_type(annotation)}, found {_shown(large)}", "at most 2^63 - 1")
        try:
            return adapter.validate_json(json.dumps(_json_keys(value)), strict=True)
        except ValidationError as error:
            inner = error.errors()[0]["loc"] if get_origin(without_none(annotation)[0]) in (list, tuple, dict) else ()
            place = (*path, *inner) if (*path, *inner) in self.source.marks else path
            found: Any = value
            for step in inner if place != path else ():
                found = found.get(step) if isinstance(found, dict) else found[step]
            return self._wrong(place, self._wanted(annotation, inner if place != path else ()), found, annotation)

    @staticmethod
    def _wanted(annotation: Any, inner: tuple[Any, ...]) -> str:
        plain, _ = without_none(annotation)
        arguments = get_args(plain)
        if inner and arguments:
            return describe_type(arguments[1] if get_origin(plain) is dict and len(arguments) > 1 else arguments[0])
        return describe_type(annotation)

    def _wrong(self, path: Path_, wanted: str, found: Any, annotation: Any = None) -> Any:
        return self._add(path, f"wanted {wanted}, found {_shown(found)}", how_to_write(annotation, found))

    def _add(self, path: Path_, message: str, suggestion: str = "") -> Any:
        self.problems.append(Problem(self.source.where(path), message, suggestion))
        return _FAILED


def _numbers(value: Any) -> Iterator[int]:
    """Whole numbers anywhere in a value."""
    if type(value) is int:
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _numbers(item)


def _json_keys(value: Any) -> Any:
    """JSON has text keys only; pydantic turns them back into what the annotation wants."""
    if isinstance(value, dict):
        return {
            str(key).lower() if isinstance(key, bool) else str(key): _json_keys(item) for key, item in value.items()
        }
    return [_json_keys(item) for item in value] if isinstance(value, list) else value


def _shown(value: Any) -> str:
    kinds = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true/false",
        list: "a list",
        dict: "a mapping",
    }
    text = "null" if value is None else repr(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return f"{text} ({kinds[type(value)]})" if type(value) in kinds else text


def _line_of(problem: Problem) -> tuple[bool, int, int]:
    """For sorting: places in the file first, in its order."""
    return not problem.place.line, problem.place.line, problem.place.column
