"""A YAML file as plain values, with the line and column of every key and value, and command-line overrides laid over it.

Numbers and booleans follow YAML 1.2 where users expect it: `1e-3` is a number, `yes`, `on` and dates are strings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from toolkit.errors import ConfigError, Problem, no_such

Path_ = tuple[str | int, ...]
_MAX_NODES = 100_000  # more than any experiment needs; stops a file whose aliases multiply


class _Yaml(yaml.SafeLoader):
    """SafeLoader without YAML 1.1's surprises."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, Any]]] = {}  # noqa: RUF012 - PyYAML's own class attribute


_Yaml.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Yaml.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|True|false|False)$"), list("tTfF"))
_Yaml.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(0|[1-9][0-9_]*)$"), list("-+0123456789"))
_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^([-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$"
    ),
    list("-+0123456789."),
)


class Mark(NamedTuple):
    """Where something stands: file or "command line", and line and column from 1 (0 when there are none)."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass
class Source:
    """values: the file's content. keys, marks: path -> place of the key and of the value."""

    file: str
    values: Any = None
    keys: dict[Path_, Mark] = field(default_factory=dict)
    marks: dict[Path_, Mark] = field(default_factory=dict)

    def where(self, path: Path_, *, key: bool = False) -> str:
        """Place and dotted path for a message; the nearest enclosing place when the path itself has none."""
        exact = self.keys if key else self.marks
        if path in exact:
            return f"{exact[path]}  {dotted(path)}".rstrip()
        for end in range(len(path) - 1, -1, -1):
            mark = self.keys.get(path[:end]) or self.marks.get(path[:end])
            if mark:
                return f"{mark}  {dotted(path)}".rstrip()
        return f"{self.file}  {dotted(path)}".rstrip()

    def given(self, path: Path_) -> bool:
        """Whether a value comes from the command line."""
        mark = self.marks.get(path)
        return mark is not None and mark.line == 0


def dotted(path: Path_) -> str:
    """`("data", "transforms", 0, "p")` as `data.transforms.0.p`."""
    return ".".join(str(part) for part in path)


class _Reader:
    """Turns composed nodes into values, noting marks; refuses what a config cannot mean."""

    def __init__(self, source: Source, loader: _Yaml) -> None:
        self.source, self.loader = source, loader
        self.open: set[int] = set()
        self.count = 0
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, path: Path_) -> Any:
        mark = Mark(self.source.file, node.start_mark.line + 1, node.start_mark.column + 1)
        self.source.marks.setdefault(path, mark)
        self.count += 1
        if id(node) in self.open or self.count > _MAX_NODES or len(path) > 50:
            raise ConfigError(Problem(f"{mark}  {dotted(path)}", "aliases (*name) that contain themselves or multiply"))
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
            return self._scalar(node, path, mark)
        finally:
            self.open.discard(id(node))

    def _scalar(self, node: yaml.Node, path: Path_, mark: Mark) -> Any:
        try:
            value = self.loader.construct_object(node)
            if value is not None and type(value) not in (str, int, float, bool):
                raise ValueError(f"a value of type {type(value).__name__}")
            return value
        except (yaml.YAMLError, ValueError) as error:
            text = str(getattr(error, "problem", None) or error)
            self.problems.append(Problem(f"{mark}  {dotted(path)}", f"cannot be read: {text}", "use a plain value"))
            return None

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            mark = Mark(self.source.file, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(f"{mark}  {dotted(path)}", "a key must be a single word"))
                continue
            key = self._scalar(key_node, path, mark)
            if key in values:
                first = self.source.keys[(*path, key)]
                self.problems.append(Problem(f"{mark}  {dotted((*path, key))}", f"stands twice, first at {first}"))
                continue
            self.source.keys[(*path, key)] = mark
            values[key] = self.value(value_node, (*path, key))
        return values


def parse(text: str, file: str) -> Source:
    """YAML text into a `Source`. Raises ConfigError for bad syntax, doubled keys and self-containing aliases."""
    source = Source(file)
    try:
        loader = _Yaml(text)
        try:
            node = loader.get_single_node()
            reader = _Reader(source, loader)
            source.values = {} if node is None else reader.value(node, ())
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        place = Mark(file, mark.line + 1, mark.column + 1) if mark else Mark(file)
        text = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(Problem(str(place), f"not valid YAML: {text}")) from None
    except (RecursionError, ValueError) as error:
        raise ConfigError(Problem(file, f"not valid YAML: {error}")) from None
    if reader.problems:
        raise ConfigError(reader.problems)
    if not isinstance(source.values, dict):
        raise ConfigError(Problem(file, f"wanted a mapping of sections, found {type(source.values).__name__}"))
    return source


def read(path: Path, overrides: Sequence[str] = ()) -> Source:
    """A config file with `key=value` overrides laid over it. Raises ConfigError."""
    if path.is_dir():
        raise ConfigError(Problem(str(path), "is a folder; wanted a config file (YAML)"))
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(no_such("config file", path)) from None
    except UnicodeDecodeError:
        raise ConfigError(Problem(str(path), "is not a text file; wanted a config in YAML")) from None
    except OSError as error:
        raise ConfigError(Problem(str(path), f"cannot be read: {error.strerror}")) from None
    source = parse(text, str(path))
    override(source, overrides)
    return source


def override(source: Source, overrides: Sequence[str]) -> None:
    """Applies `a.b=value` in order; values are YAML, a missing section is made. Raises ConfigError, all at once."""
    problems = []
    for item in overrides:
        dotted_path, equals, text = item.partition("=")
        where = f"command line  {dotted_path}"
        if not equals or not dotted_path:
            problems.append(Problem("command line", f"'{item}' is not of the form key=value"))
            continue
        try:
            value = yaml.load(text, _Yaml)  # a SafeLoader
        except yaml.YAMLError:
            value = text  # a Windows path, a colon: what stands there is what was meant
        problem = _assign(source, dotted_path.split("."), value, where)
        if problem:
            problems.append(problem)
    if problems:
        raise ConfigError(problems)


def _assign(source: Source, names: list[str], value: Any, where: str) -> Problem | None:
    node: Any = source.values
    path: Path_ = ()
    for position, name in enumerate(names):
        last = position == len(names) - 1
        key: str | int = name
        if isinstance(node, list):
            if not name.isdigit() or int(name) >= len(node):
                return Problem(where, f"{dotted(path)} is a list of {len(node)}; wanted a place 0 to {len(node) - 1}")
            key = int(name)
        elif isinstance(node, dict):
            key = int(name) if name.lstrip("-").isdigit() and int(name) in node else name
        else:
            return Problem(where, f"{dotted(path)} is a single value and has no '{name}'")
        path = (*path, key)
        if last:
            _forget(source, path)
            node[key] = value
            source.keys[path] = source.marks[path] = Mark("command line")
        else:
            if isinstance(node, dict) and not isinstance(node.get(key), (dict, list)):
                # `model.head.loss.name=dice` over `loss: dice` or over nothing makes the mapping it needs.
                node[key] = {"name": node[key]} if isinstance(node.get(key), str) else {}
                source.keys[path] = source.marks[path] = Mark("command line")
            node = node[key]
    return None


def _forget(source: Source, path: Path_) -> None:
    """Drops the file's marks below a path that is replaced."""
    for table in (source.keys, source.marks):
        for known in [known for known in table if known[: len(path)] == path]:
            del table[known]
