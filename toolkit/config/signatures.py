"""What a check must know of parts and sections: their names and arguments, wherever that knowledge comes from.

Two sources keep this interface: the registries (`schema.py`), which need torch, and a file of signatures that an
earlier check wrote (`signature_file.py`), which needs nothing.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from typing import Any, Protocol

from toolkit.config.annotations import Argument

MISSING: Any = inspect.Parameter.empty


class Kind(Protocol):
    """One kind of part, as `toolkit.registry.Registry` is one.

    kind: its word ("backbone"). injected: arguments that follow from the other parts and are not set by hand.
    """

    kind: str
    injected: tuple[str, ...]

    def names(self) -> list[str]:
        """Registered names, sorted."""


class Signatures(Protocol):
    """Names and arguments of everything a config may hold."""

    def kind(self, word: str) -> Kind:
        """The kind of that word ("backbone")."""

    def find(self, word: str, name: str) -> type:
        """What a name stands for: a class, or a stand-in of it. Raises ConfigError, with near names, for no such."""

    def arguments_of(self, cls: type) -> Mapping[str, Argument]:
        """Arguments by name, annotations in config form, of a section or of what `find` gave."""


def constructor_arguments(cls: type) -> dict[str, Argument]:
    """Every argument of a class' constructor with its resolved annotation, as it is written in the signature."""
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
