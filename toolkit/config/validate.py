"""Walks a whole config along the description of what it names, builds nothing, and reports every problem at once.

One recursion serves sections and parts alike: both are constructors whose arguments are described by a JSON Schema.
Nothing here needs torch, and nothing is imported for a name that is the package's own.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from typing import Any

from toolkit.config.habits import habit
from toolkit.config.parts import Parts
from toolkit.config.remedies import belongs_to, how_to_write
from toolkit.config.sections import (
    Config,
    DataSection,
    EvaluateSection,
    ModelSection,
    PartSpec,
    SplitSection,
    TrainSection,
)
from toolkit.config.signatures import Schema, construct, signature_schema
from toolkit.config.source import KeyPath, Source, dotted
from toolkit.config.values import MisfitError, numbers_in, read_value, without_null
from toolkit.config.words import describe_type, part_kind, with_article
from toolkit.errors import ConfigError, Problem, did_you_mean, shortened

_FAILED: Any = object()
_LARGEST = (1 << 63) - 1  # what tensors, arrays and files can hold
SECTIONS = frozenset({"model", "data.train", "data.val", "data.test", "train", "evaluate"})
_PLACEHOLDER = PartSpec("", "", {})
"""Stands where a section is at fault; never built."""


@cache
def section_schema(section: Any) -> Schema:
    """The object schema of a section, its inner sections included."""
    return signature_schema(section, {})


class ConfigValidator:
    """Walks one config; problems gather in `problems`.

    Args:
        source: the file's values with their places, overrides laid over them.
        parts: the description of everything that the config may name.
        trust: names of the form module:Class that may be imported, which runs the module; True trusts all of the file's
            own. Those that an override names are the user's, and trusted.
    """

    def __init__(self, source: Source, parts: Parts, trust: bool | Container[str] = True) -> None:
        self.source = source
        self.parts = parts
        self.trust = trust
        self.problems: list[Problem] = []
        data = source.values.get("data") if isinstance(source.values, dict) else None
        self.data_root: Any = data.get("root") if isinstance(data, dict) else None
        self.root_used = False

    def config(self) -> Config:
        """The checked config. Raises ConfigError with every problem, in the order of the file."""
        values = self.section(section_schema(Config), self.source.values, ())
        if self.source.given(("data", "root")) and not self.root_used and not self.problems:
            message = "changes nothing: every data set has a 'root' of its own"
            self._add(("data", "root"), message, "set data.train.dataset.root")
        if self.problems:
            raise ConfigError(sorted(self.problems, key=_line_of))
        config: Config = construct(Config, values)
        return config

    def valid_section(self, cls: Any, value: Any, path: KeyPath) -> Any:
        """A section by itself; None when it is missing or anything in it is wrong.

        Args:
            cls: the section's dataclass, such as `DataSection`.
            value: what stands there, as plain values.
            path: its place in the config, as keys and list positions.
        """
        before = len(self.problems)
        values = self.section(section_schema(cls), value, path) if value is not None else _FAILED
        return None if values is _FAILED or len(self.problems) > before else construct(cls, values)

    def section(self, schema: Schema, value: Any, path: KeyPath) -> Any:
        """A mapping as a dict of checked values.

        Args:
            schema: what may stand there, as a JSON Schema.
            value: what stands there, as plain values.
            path: its place in the config, as keys and list positions.
        """
        if not isinstance(value, Mapping):
            return self._wrong(path, "a mapping", value)
        what = f"section '{dotted(path)}'" if path else "a config"
        if path == ("train",):
            value = self._with_one_length(value, path)
        return self._arguments(schema, value, path, what, word="key")

    def _with_one_length(self, train: Mapping[Any, Any], path: KeyPath) -> Mapping[Any, Any]:
        """The train section with `steps` or `epochs`: what the command line says of the one replaces the file's other."""
        given = [key for key in ("steps", "epochs") if train.get(key) is not None]
        late = [key for key in given if self.source.given((*path, key))]
        if not given:
            near = [key for key in train if get_close_matches(str(key), ("steps", "epochs"), cutoff=0.6)]
            if not near and not any(habit(str(key), ("steps", "epochs")).startswith("did") for key in train):
                self._add(path, "section 'train' needs 'steps' or 'epochs'", "wanted a whole number greater than 0")
        elif len(given) > 1 and len(late) != 1:
            self._add((*path, "epochs"), "'steps' and 'epochs' both say how long to train", "remove one of them")
        elif len(given) > 1:
            return {key: value for key, value in train.items() if key not in given or key in late}
        return train

    def part(self, kind: str, value: Any, path: KeyPath) -> Any:
        """A name, or a mapping with `name` and arguments, into a PartSpec.

        Args:
            kind: word of its kind in `KINDS` ("backbone").
            value: what stands there, as plain values.
            path: its place in the config, as keys and list positions.
        """
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping):
            return self._wrong(path, f"{with_article(kind)}: a name, or a mapping with 'name'", value)
        name = value.get("name")
        if not isinstance(name, str) or name != shortened(name):
            known = did_you_mean("", self.parts.names(kind))
            if "name" not in value and isinstance(value.get("type"), str):
                known = f"write name: {shortened(value['type'])} in the place of type"
            if "name" in value:
                return self._add(
                    (*path, "name"), f"wanted the name of {with_article(kind)}, found {_shown(name)}", known
                )
            return self._add(path, f"{with_article(kind)} needs a 'name'", known)
        if ":" in name and not self._is_trusted(name, path):
            message = f"{kind} '{name}' is code of somebody's own, which is run when the config is read"
            return self._add(path, message, "if you know who wrote it, --trust-code (in Python: trust_code=True)")
        try:
            schema = self.parts.part(kind, name)
        except ConfigError as error:
            place = (*path, "name") if (*path, "name") in self.source.marks else path
            for problem in error.problems:
                self._add(place, problem.message, problem.suggestion)
            return _FAILED
        given = {key: item for key, item in value.items() if key != "name"}
        if kind == "dataset" and "root" in schema["properties"] and self.data_root is not None:
            self.root_used = self.root_used or "root" not in given
            given.setdefault("root", self.data_root)
        hidden = tuple(word for word in self.parts.injected(kind) if word not in schema["properties"])
        arguments = self._arguments(schema, given, path, f"{kind} '{name}'", hidden=hidden)
        return _FAILED if arguments is _FAILED else PartSpec(kind, name, arguments, path, schema)

    def _is_trusted(self, name: str, path: KeyPath) -> bool:
        known = self.trust if isinstance(self.trust, bool) else name in self.trust
        places = [(*path, "name"), *(path[:end] for end in range(len(path), 0, -1))]
        nearest = next((place for place in places if place in self.source.marks), ())
        return known or self.source.given(nearest)

    def value(self, schema: Schema, value: Any, path: KeyPath) -> Any:
        """One argument: a part, a list of parts, a section, or a plain value.

        Args:
            schema: what may stand there, as a JSON Schema.
            value: what stands there, as plain values.
            path: its place in the config, as keys and list positions.
        """
        plain, optional = without_null(schema)
        if value is None and optional:
            return None
        kind = part_kind(plain)
        if kind:
            return self.part(kind, value, path)
        if "properties" in plain:
            return self.section(plain, value, path)
        item = plain.get("items", {})
        if part_kind(item) or "properties" in item:
            if not isinstance(value, list):
                return self._wrong(path, f"a list, each {describe_type(item)}", value)
            return [self.value(item, child, (*path, index)) for index, child in enumerate(value)]
        return self._plain(schema, value, path)

    def _arguments(
        self,
        schema: Schema,
        given: Mapping[Any, Any],
        path: KeyPath,
        what: str,
        *,
        hidden: tuple[str, ...] = (),
        word: str = "parameter",
    ) -> Any:
        """Given arguments, checked. Defaults stay in the signature."""
        known: Schema = schema["properties"]
        before = len(self.problems)
        for key in given:
            if key in hidden:
                message = f"'{key}' of {what} is not set by hand: it follows from the other parts and the data"
                self._add((*path, key), message, "remove it", key=True)
            elif key not in known:
                message = f"{what} has no {word} '{shortened(str(key))}'"
                self._add((*path, key), message, self._meant(schema, str(key), given, path, word), key=True)
        misspelt = {
            name for key in given if key not in known for name in get_close_matches(str(key), known, cutoff=0.6)
        }
        result = {}
        for name, argument in known.items():
            if name in given:
                result[name] = self.value(argument, given[name], (*path, name))
            elif name in schema["required"] and name not in misspelt:  # else it is said already
                self._add(path, f"{what} needs '{name}'", f"wanted {describe_type(argument)}")
        return _FAILED if len(self.problems) > before else result

    def _meant(self, schema: Schema, key: str, given: Mapping[Any, Any], path: KeyPath, word: str) -> str:
        """What an unknown key may have meant: a near name, an argument of a part beside it, a key of another section."""
        known: Schema = schema["properties"]
        meant, near = habit(key, known, dotted(path)), did_you_mean(key, known)
        if word == "parameter":
            return near if near.startswith("did you mean") else meant or near
        is_near = near.startswith("did you mean")
        if meant.startswith("did you mean") or (is_near and not meant):
            return meant or near
        for name, argument in known.items():
            kind, inner = part_kind(without_null(argument)[0]), given.get(name)
            called = inner.get("name") if isinstance(inner, Mapping) else inner
            if kind and isinstance(called, str) and ":" not in called:
                with suppress(ConfigError):
                    if key in self.parts.part(kind, called)["properties"]:
                        return f"did you mean '{dotted((*path, name, key))}'?"
        return belongs_to(key) or meant or near

    def _plain(self, schema: Schema, value: Any, path: KeyPath) -> Any:
        large = next((number for number in numbers_in(value) if abs(number) > _LARGEST), None)
        if large is not None:
            return self._add(path, f"wanted {describe_type(schema)}, found {_shown(large)}", "at most 2^63 - 1")
        try:
            read = read_value(schema, value)
        except MisfitError as misfit:
            if "x-unwritable" in misfit.schema:
                return self._add(path, f"cannot be written in a config (it is {describe_type(schema)})", "remove it")
            place = (*path, *misfit.steps)
            if misfit.steps and place in self.source.marks:
                return self._wrong(place, describe_type(misfit.schema), misfit.value, misfit.schema)
            return self._wrong(path, describe_type(schema), value, schema)
        word = without_null(schema)[0].get("x-known") or _known_word(schema)
        unknown = self.parts.unknown_name(word, read) if word and isinstance(read, str) else None
        return self._add(path, unknown.message, unknown.suggestion) if unknown else read

    def _wrong(self, path: KeyPath, wanted: str, found: Any, schema: Schema | None = None) -> Any:
        remedy = how_to_write(schema, found) if schema is not None else ""
        if found is True and path[-1:] == ("weights",):
            remedy = "name them: DEFAULT or imagenet for published ones, or a file"
        return self._add(path, f"wanted {wanted}, found {_shown(found)}", remedy)

    def _add(self, path: KeyPath, message: str, suggestion: str = "", *, key: bool = False) -> Any:
        self.problems.append(Problem(self.source.where(path, key=key), message, suggestion))
        return _FAILED


def valid_sections(source: Source, parts: Parts) -> tuple[Config, frozenset[str]]:
    """A config that holds the sections without a fault, and their names (of `SECTIONS`); the others are placeholders.

    A section with a fault anywhere in it is left out: what it would do without the faulty key is not what was meant.
    A split that the config does not have has no fault.
    """
    validator = ConfigValidator(source, parts)
    values: dict[Any, Any] = source.values if isinstance(source.values, dict) else {}
    given = values.get("data")
    data: dict[Any, Any] = given if isinstance(given, dict) else {}
    model = validator.valid_section(ModelSection, values.get("model"), ("model",))
    train = validator.valid_section(TrainSection, values.get("train"), ("train",))
    evaluate = validator.valid_section(EvaluateSection, values.get("evaluate", {}), ("evaluate",))
    names = ("train", "val", "test")
    splits = {name: validator.valid_section(SplitSection, data.get(name), ("data", name)) for name in names}
    whole = {"model": model, "train": train, "evaluate": evaluate} | {f"data.{key}": s for key, s in splits.items()}
    sgd = PartSpec("optimizer", "sgd", {"lr": 0.1}, signature=parts.part("optimizer", "sgd"))
    config = Config(
        model=model or ModelSection(_PLACEHOLDER, _PLACEHOLDER),
        data=DataSection(
            train=splits["train"] or SplitSection(_PLACEHOLDER),
            val=splits["val"],
            test=splits["test"],
            classes=_listed(data.get("classes")),
            root=data.get("root") if isinstance(data.get("root"), str) else None,
        ),
        train=train or TrainSection(steps=1, optimizer=sgd),
        evaluate=evaluate or EvaluateSection(),
    )
    absent = {f"data.{name}" for name in ("val", "test") if data.get(name) is None}
    return config, frozenset(name for name, section in whole.items() if section is not None) | absent


def _listed(classes: Any) -> Any:
    """Classes as a config may give them, None for anything else."""
    is_list = isinstance(classes, list) and bool(classes) and all(isinstance(name, str) for name in classes)
    if is_list or isinstance(classes, str):
        return classes
    try:
        return read_value(section_schema(DataSection)["properties"]["classes"], classes) or None
    except MisfitError:
        return None


def _known_word(schema: Schema) -> str | None:
    return next((member["x-known"] for member in schema.get("anyOf", ()) if "x-known" in member), None)


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
