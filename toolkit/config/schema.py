"""Checks a whole config against the constructors it names, before anything is built, and reports every problem at once.

One recursion serves sections and parts alike: both are callables whose signature says which arguments exist, of
which types, within which bounds. Types are checked by pydantic in its strict JSON reading (a list may fill a tuple,
a whole number a float; text never becomes a number).
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from toolkit.config.sections import Config, PartSpec
from toolkit.config.source import Path_, Source, dotted
from toolkit.contracts import REGISTRIES, TRANSFORMS
from toolkit.data.transforms import transform_class
from toolkit.errors import ConfigError, Problem, did_you_mean
from toolkit.registry import Registry

MISSING: Any = inspect.Parameter.empty
_FAILED: Any = object()


class Argument(NamedTuple):
    """One argument of a constructor or one field of a section."""

    name: str
    annotation: Any
    default: Any


@cache
def arguments_of(cls: type) -> dict[str, Argument]:
    """Every argument of a class' constructor with its resolved annotation. Injected ones are included."""
    owner = cls if dataclasses.is_dataclass(cls) else _definer_of_init(cls)
    hints = typing.get_type_hints(owner if dataclasses.is_dataclass(cls) else owner.__init__, include_extras=True)
    found = {}
    for parameter in inspect.signature(cls).parameters.values():
        default = parameter.default
        if dataclasses.is_dataclass(cls):
            made = {f.name: f.default_factory for f in dataclasses.fields(cls)}[parameter.name]
            default = made() if made is not dataclasses.MISSING else default
        found[parameter.name] = Argument(parameter.name, hints.get(parameter.name, parameter.annotation), default)
    return found


def _definer_of_init(cls: type) -> Any:
    return next(base for base in cls.__mro__ if "__init__" in vars(base))


def registry_of(annotation: Any) -> Registry[Any] | None:
    """The registry a part annotation stands for: `Annotated[PartSpec, BACKBONES]` or a base class such as PixelLoss."""
    for registry in REGISTRIES.values():
        if annotation is registry.base or registry in getattr(annotation, "__metadata__", ()):
            return registry
    return None


def without_none(annotation: Any) -> tuple[Any, bool]:
    """(`X`, True) for `X | None`, else (annotation, False)."""
    if get_origin(annotation) in (Union, types.UnionType):
        members = get_args(annotation)
        rest = tuple(member for member in members if member is not type(None))
        if len(rest) < len(members):
            return (rest[0] if len(rest) == 1 else Union[rest]), True  # noqa: UP007 - built at run time
    return annotation, False


def list_item(annotation: Any) -> Any | None:
    """`X` for `list[X]`, `tuple[X, ...]` or `Sequence[X]`, else None."""
    if get_origin(annotation) in (list, tuple) and get_args(annotation):
        return get_args(annotation)[0]
    return None


def class_of(registry: Registry[Any], name: str) -> type:
    """The class a name stands for; transforms also know albumentations' names. Raises ConfigError."""
    return transform_class(name) if registry is TRANSFORMS and ":" not in name else registry.find(name)


def describe_type(annotation: Any) -> str:
    """An annotation in words: "a whole number greater than 0", "'same' or 'valid'", "a list of numbers, or null"."""
    plain, optional = without_none(annotation)
    text = _words(plain)
    return f"{text}, or null" if optional else text


def _words(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    registry = registry_of(annotation)
    if registry:
        return f"{_a(registry.kind)} (a name, or a mapping with 'name')"
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
    if origin in (dict, Mapping):
        return "a mapping"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Any: "anything"}
    names |= {list: "a list", dict: "a mapping", type(None): "null"}
    if dataclasses.is_dataclass(annotation):
        return "a mapping"
    return names.get(annotation) or str(getattr(annotation, "__name__", annotation))


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _bound(bound: Any) -> str:
    words = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}
    parts = [f"{word} {getattr(bound, key)}" for key, word in words.items() if getattr(bound, key, None) is not None]
    if getattr(bound, "min_length", None):
        parts.append(f"with at least {bound.min_length}")
    return " and ".join(parts)


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

    def __init__(self, source: Source) -> None:
        self.source = source
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
            raise ConfigError(sorted(self.problems, key=lambda problem: _line_of(problem.where)))
        return result

    def section(self, cls: type, value: Any, path: Path_) -> Any:
        """A mapping into a section dataclass."""
        if not isinstance(value, Mapping):
            return self._wrong(path, "a mapping", value)
        arguments = self._arguments(cls, value, path, what=f"section '{dotted(path)}'" if path else "a config")
        return _FAILED if arguments is _FAILED else cls(**arguments)

    def part(self, registry: Registry[Any], value: Any, path: Path_) -> Any:
        """A name, or a mapping with `name` and arguments, into a PartSpec."""
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping):
            return self._wrong(path, f"{_a(registry.kind)}: a name, or a mapping with 'name'", value)
        name = value.get("name")
        if not isinstance(name, str):
            known = did_you_mean("", registry.names())
            if "name" in value:
                self._add((*path, "name"), f"wanted the name of {_a(registry.kind)}, found {_shown(name)}", known)
            else:
                self._add(path, f"{_a(registry.kind)} needs a 'name'", known)
            return _FAILED
        try:
            cls = class_of(registry, name)
        except ConfigError as error:
            place = (*path, "name") if (*path, "name") in self.source.marks else path
            for problem in error.problems:
                self._add(place, problem.message, problem.suggestion)
            return _FAILED
        given = {key: item for key, item in value.items() if key != "name"}
        if "root" in arguments_of(cls) and registry is REGISTRIES["datasets"] and self.data_root is not None:
            self.root_used = self.root_used or "root" not in given
            given.setdefault("root", self.data_root)
        arguments = self._arguments(cls, given, path, f"{registry.kind} '{name}'", hidden=registry.injected)
        return _FAILED if arguments is _FAILED else PartSpec(name, cls, arguments, path)

    def _arguments(
        self, cls: type, given: Mapping[Any, Any], path: Path_, what: str, hidden: tuple[str, ...] = ()
    ) -> Any:
        """Given arguments, checked. Defaults stay in the signature."""
        known = {name: argument for name, argument in arguments_of(cls).items() if name not in hidden}
        word = "key" if dataclasses.is_dataclass(cls) else "parameter"
        before = len(self.problems)
        for key in given:
            if key not in known:
                where = self.source.where((*path, key), key=True)
                if key in hidden:
                    message = f"'{key}' of {what} is not set by hand: it follows from the other parts and the data"
                    self.problems.append(Problem(where, message, "remove it"))
                else:
                    message = f"{what} has no {word} '{key}'"
                    self.problems.append(Problem(where, message, did_you_mean(str(key), known)))
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

    def value(self, annotation: Any, value: Any, path: Path_) -> Any:
        """One argument: a part, a list of parts, a section, or a plain value."""
        plain, optional = without_none(annotation)
        if value is None and optional:
            return None
        registry = registry_of(plain)
        if registry:
            return self.part(registry, value, path)
        if dataclasses.is_dataclass(plain) and isinstance(plain, type):
            return self.section(plain, value, path)
        item = list_item(plain)
        if item is not None and (registry_of(item) or dataclasses.is_dataclass(item)):
            if not isinstance(value, list):
                return self._wrong(path, f"a list, each {describe_type(item)}", value)
            return [self.value(item, child, (*path, index)) for index, child in enumerate(value)]
        return self._plain(annotation, value, path)

    def _plain(self, annotation: Any, value: Any, path: Path_) -> Any:
        adapter = _adapter_for(annotation)
        if adapter is None:
            return self._add(path, f"cannot be written in a config (it is {describe_type(annotation)})", "remove it")
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
        plain, _ = without_none(annotation)
        choices = (
            [choice for choice in get_args(plain) if isinstance(choice, str)] if get_origin(plain) is Literal else []
        )
        close = did_you_mean(found, choices) if choices and isinstance(found, str) else ""
        return self._add(path, f"wanted {wanted}, found {_shown(found)}", close if close.startswith("did") else "")

    def _add(self, path: Path_, message: str, suggestion: str = "") -> Any:
        self.problems.append(Problem(self.source.where(path), message, suggestion))
        return _FAILED


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


def _line_of(where: str) -> tuple[int, int]:
    parts = where.split("  ")[0].rsplit(":", 2)
    return (
        (int(parts[1]), int(parts[2]))
        if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit()
        else (1 << 30, 0)
    )


def check(source: Source) -> Config:
    """Raises ConfigError with every problem of the file; builds nothing."""
    return Checker(source).config()
