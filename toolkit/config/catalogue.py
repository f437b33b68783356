"""Every name that a config may hold, with its parameters, types, defaults and help."""

from __future__ import annotations

from typing import Any

from toolkit.config.parts import Parts
from toolkit.config.sections import KINDS
from toolkit.config.shipped import shipped_configs
from toolkit.config.signatures import Schema
from toolkit.config.values import without_null
from toolkit.config.words import describe_type
from toolkit.data.classes.tables import class_table, preset_names
from toolkit.errors import ConfigError, Problem, did_you_mean

_WORDS = {plural: word for word, plural in KINDS.items()}
GROUPS = (*_WORDS, "classes", "configs")
"""What `toolkit list` knows: the kinds of parts, presets of class names, and the configs that come with the package."""
Entry = dict[str, Any]


def catalogue(parts: Parts, group: str | None = None) -> dict[str, list[Entry]]:
    """{group: [{"name", "summary", "parameters": [{"name", "type", "required", "default", "help"}]}]}.

    Args:
        parts: the description that is read.
        group: one of `GROUPS`; None gives all kinds of parts.
    """
    if group == "classes":
        return {"classes": [_preset(name) for name in preset_names()]}
    if group == "configs":
        return {"configs": [_entry(name, summary) for name, summary in shipped_configs().items()]}
    return {
        plural: [_part(parts, word, name) for name in parts.names(word)]
        for plural, word in _WORDS.items()
        if group in (None, plural)
    }


def named(parts: Parts, name: str, group: str | None = None) -> dict[str, list[Entry]]:
    """As `catalogue`, of one name: in a group, or wherever there is one of that name.

    An entry also has "doc", the whole description, such as the folders that a data set wants. Raises ConfigError, with
    near names, for one that is not there.

    Args:
        parts: the description of all parts that is read.
        name: a registered name, `module:Class`, a preset or a config.
        group: one of `GROUPS`, in which it is looked for; None looks everywhere.
    """
    words = [_WORDS[group]] if group else list(KINDS)
    known = {word: parts.names(word, foreign=True) for word in words}
    found = {KINDS[word]: [_part(parts, word, name, doc=True)] for word, names in known.items() if name in names}
    if found:
        return found
    if group:
        parts.part(_WORDS[group], name)  # says what is near, or why it is refused
    everything = [*GROUPS, *(name for names in known.values() for name in names)]
    raise ConfigError(Problem("", f"nothing is called '{name}' here", did_you_mean(name, everything)))


def _part(parts: Parts, word: str, name: str, *, doc: bool = False) -> Entry:
    schema = parts.part(word, name)
    entry = _entry(name, schema["description"], _parameters(schema))
    return {**entry, "doc": schema.get("x-doc", "")} if doc else entry


def _parameters(schema: Schema, prefix: str = "") -> list[Entry]:
    """A constructor's parameters; those of a section inside by their dotted names."""
    found = []
    for name, argument in schema["properties"].items():
        inner, _ = without_null(argument)
        if "properties" in inner:
            found += _parameters(inner, f"{prefix}{name}.")
            continue
        entry = {"name": prefix + name, "type": describe_type(argument), "required": name in schema["required"]}
        found.append({**entry, "default": argument.get("default"), "help": argument.get("description", "")})
    return found


def _preset(name: str) -> Entry:
    names = class_table(name).names
    return _entry(name, f"{len(names)} classes: {', '.join(names)}")


def _entry(name: str, summary: str, parameters: list[Entry] | None = None) -> Entry:
    return {"name": name, "summary": summary, "parameters": parameters or []}
