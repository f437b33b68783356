"""A YAML file as plain values, with the line and column of every key and value.

Numbers and booleans follow YAML 1.2 where users expect it: `1e-3` is a number, `yes`, `on` and dates are strings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from toolkit.errors import ConfigError, Place, Problem, shortened

KeyPath = tuple[str | int, ...]
_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_MAX_DEPTH = 50
_TOO_DEEP = f"more than {_MAX_DEPTH} lists and mappings inside one another"
_MAX_NODES = 10_000  # more than any experiment needs; stops a file whose aliases multiply
_MAX_LINES = 20_000
_MAX_LETTERS = 1 << 20
_TOO_LONG = "wanted a config in YAML, a page of text"


class YamlLoader(yaml.SafeLoader):
    """SafeLoader without YAML 1.1's surprises, and without its patience for what opens and opens or goes on and on."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.composed = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Composes a node as PyYAML does, and stops at a number of them that no config has."""
        self.composed += 1
        if self.composed > _MAX_NODES:
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, f"more than {_MAX_NODES} values; {_TOO_LONG}", mark)
        return super().compose_node(parent, index)

    def fetch_flow_collection_start(self, TokenClass: type) -> None:  # noqa: N803 - PyYAML's names
        """Begins a flow collection ("[" or "{") as PyYAML's scanner does, and refuses one that is nested too deeply."""
        if self.flow_level > _MAX_DEPTH:
            raise yaml.scanner.ScannerError(None, None, _TOO_DEEP, self.get_mark())
        super().fetch_flow_collection_start(TokenClass)

    yaml_implicit_resolvers: dict[str, list[tuple[str, Any]]] = {}  # noqa: RUF012 - PyYAML's own class attribute


YamlLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
YamlLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|True|false|False)$"), list("tTfF"))
YamlLoader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(0|[1-9][0-9_]*)$"), list("-+0123456789"))
YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^([-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$"
    ),
    list("-+0123456789."),
)


@dataclass
class Source:
    """The content of a config file, with the place of every key and value.

    Args:
        file: name of the file, as messages call it.
        values: the content of the file as plain values.
        keys: place of each key, by its path.
        marks: place of each value, by its path.
    """

    file: str
    values: Any = None
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    marks: dict[KeyPath, Place] = field(default_factory=dict)

    def where(self, path: KeyPath, *, key: bool = False) -> Place:
        """Place and dotted path for a message; the nearest enclosing place when the path itself has none."""
        mark = (self.keys if key else self.marks).get(path)
        for end in range(len(path) - 1, -1, -1):
            mark = mark or self.keys.get(path[:end]) or self.marks.get(path[:end])
        return (mark or Place(self.file))._replace(key=dotted(path))

    def given(self, path: KeyPath) -> bool:
        """Whether a value comes from the command line."""
        mark = self.marks.get(path)
        return mark is not None and mark.line == 0


def dotted(path: KeyPath) -> str:
    """`("data", "transforms", 0, "p")` as `data.transforms.0.p`."""
    return ".".join(shortened(str(part)) for part in path)


class _Reader:
    """Turns composed nodes into values, noting marks; refuses what a config cannot mean."""

    def __init__(self, source: Source, loader: YamlLoader) -> None:
        self.source, self.loader = source, loader
        self.open: set[int] = set()
        self.count = 0
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        mark = Place(self.source.file, node.start_mark.line + 1, node.start_mark.column + 1)
        self.source.marks.setdefault(path, mark)
        self.count += 1
        if id(node) in self.open or self.count > _MAX_NODES:
            raise ConfigError(
                Problem(mark._replace(key=dotted(path)), "aliases (*name) that contain themselves or multiply")
            )
        if len(path) > _MAX_DEPTH:
            raise ConfigError(Problem(mark, _TOO_DEEP))
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
            self.problems.append(
                Problem(mark._replace(key=dotted(path)), f"the tag {node.tag!r} means nothing here", "remove it")
            )
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
            return self._scalar(node, path, mark)
        finally:
            self.open.discard(id(node))

    def _scalar(self, node: yaml.Node, path: KeyPath, mark: Place) -> Any:
        try:
            value = self.loader.construct_object(node)
            if value is not None and type(value) not in (str, int, float, bool):
                raise ValueError(f"a value of type {type(value).__name__}")
            return value
        except Exception as error:  # PyYAML's constructors fail on odd scalars in ways of their own
            text = str(getattr(error, "problem", None) or (error if isinstance(error, ValueError) else node.tag))
            self.problems.append(
                Problem(mark._replace(key=dotted(path)), f"cannot be read: {text}", "use a plain value")
            )
            return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            mark = Place(self.source.file, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(mark._replace(key=dotted(path)), "a key must be a single word"))
                continue
            key = self._scalar(key_node, path, mark)
            if key in values:
                first = self.source.keys[(*path, key)]
                self.problems.append(
                    Problem(mark._replace(key=dotted((*path, key))), f"stands twice, first at {first}")
                )
                continue
            self.source.keys[(*path, key)] = mark
            values[key] = self.value(value_node, (*path, key))
        return values


def parse(text: str, file: str) -> Source:
    """YAML text into a `Source`. Raises ConfigError for bad syntax, doubled keys and self-containing aliases.

    A text that is longer than any config ends within a second, whatever is in it.
    """
    lines = text.count("\n")
    if len(text) > _MAX_LETTERS or lines > _MAX_LINES:
        size = f"{_MAX_LINES} lines" if lines > _MAX_LINES else f"{_MAX_LETTERS >> 20} MiB"
        raise ConfigError(Problem(Place(file), f"is larger than {size}; {_TOO_LONG}"))
    try:
        source = _read(text, file)
    except yaml.YAMLError as error:
        raise ConfigError(_syntax_problem(error, text, file)) from None
    if source.values is None:
        raise ConfigError(
            Problem(Place(file), "is empty; wanted a config in YAML", "copy a file of configs/ and change it")
        )
    if not isinstance(source.values, dict):
        kind = {"list": "a list", "str": "text"}.get(type(source.values).__name__, "a single value")
        message = f"wanted a mapping of sections, found {kind}"
        raise ConfigError(Problem(Place(file), message, "a config has the keys model, data and train"))
    return source


def parse_value(text: str, where: Place) -> Any:
    """One value by YAML's rules; text that is no YAML stays text. Raises ConfigError for what no config can hold."""
    try:
        return _read(text, where.file).values
    except yaml.YAMLError:
        return text
    except ConfigError as error:  # lines and columns say nothing here
        raise ConfigError(problem.at(where) for problem in error.problems) from None


def _read(text: str, file: str) -> Source:
    source = Source(file)
    reader = None
    try:
        loader = YamlLoader(text)
        try:
            node = loader.get_single_node()
            reader = _Reader(source, loader)
            source.values = None if node is None else reader.value(node, ())
        finally:
            loader.dispose()
    except RecursionError:
        raise ConfigError(Problem(Place(file), _TOO_DEEP)) from None
    except ValueError as error:
        raise ConfigError(Problem(Place(file), f"not valid YAML: {error}")) from None
    if reader.problems:
        raise ConfigError(reader.problems)
    return source


_REMEDIES = {
    "mapping values are not allowed": "look at the indentation and for a colon missing above; text with ': ' needs quotes",
    "could not find expected ':'": "a key is followed by a colon and a space; look at the line above too",
    "<block end>": "the indentation of this line fits no line above it",
    "end of stream": "a quote or a bracket is not closed",
    "stream end": "a quote or a bracket is not closed",
    "undefined alias": "text that begins with '*' needs quotes",
    "expected ','": "a bracket is not closed, or a comma is missing",
    "document": "a config is one document: remove the lines '---' and '...'",
}
"""What a mistake in YAML usually is, by words of PyYAML's message."""


def _syntax_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        place = Place(file, line, error.position - text.rfind("\n", 0, error.position))
        number = error.character if isinstance(error.character, int) else ord(error.character)
        return Problem(place, f"not valid YAML: U+{number:04X}, a character that no text holds", "remove it")
    if (
        mark
        and text.splitlines()[mark.line : mark.line + 1]
        and "\t" in text.splitlines()[mark.line][: mark.column + 1]
    ):
        return Problem(place, "not valid YAML: a tab", "indent with spaces")
    remedy = next((remedy for words, remedy in _REMEDIES.items() if words in said), "")
    return Problem(place, f"not valid YAML: {said}", remedy)
