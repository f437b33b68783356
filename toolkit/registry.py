"""A registry: the table from a name in a config to the class that is built, one for each kind of part.

A class that could not be checked from a config is refused when it is registered, that is at import: a duplicate
name, a parameter without a type or called `name`, `*args` or `**kwargs`. A name of the form `module:Class` reaches a class that is
not registered; it has to keep the same rules.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from toolkit.errors import ConfigError, Problem, did_you_mean

T = TypeVar("T")
C = TypeVar("C", bound=type)


class Registry(Generic[T]):
    """Classes of one kind by name.

    Args:
        kind: the word for the kind in messages ("backbone").
        base: class that every registered class must derive from.
        injected: constructor parameters that come from the composition (`spec`, `num_classes`) and not from the config.
        settable: those of them that a config may give all the same (the classes of a data set's own files).
    """

    def __init__(
        self, kind: str, base: type[T], injected: tuple[str, ...] = (), settable: tuple[str, ...] = ()
    ) -> None:
        self.kind = kind
        self.base = base
        self.injected, self.settable = injected, settable
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """Class decorator. Raises TypeError or ValueError at import for a class that a config could not describe."""

        def add(cls: C) -> C:
            if name in self._classes:
                raise ValueError(f"{self.kind} '{name}' is registered twice: {self._classes[name]} and {cls}")
            self._verify(cls)
            self._classes[name] = cls
            return cls

        return add

    def find(self, name: str) -> type[T]:
        """The class of a registered name or of `module:Class`. Raises ConfigError, with near names, for any other."""
        if name in self._classes:
            return self._classes[name]
        if ":" in name:
            return self._import(name)
        raise ConfigError(Problem("", f"no {self.kind} is called '{name}'", did_you_mean(name, self._classes)))

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._classes)

    def name_of(self, cls: type) -> str:
        """The registered name of a class, else `module:Class`."""
        for name, registered in self._classes.items():
            if registered is cls:
                return name
        return f"{cls.__module__}:{cls.__qualname__}"

    def items(self) -> Iterator[tuple[str, type[T]]]:
        """(name, class) pairs, sorted by name."""
        return iter(sorted(self._classes.items()))

    def _verify(self, cls: type) -> None:
        if not issubclass(cls, self.base):
            raise TypeError(f"{self.kind} {cls.__qualname__} must derive from {self.base.__name__}")
        for parameter in inspect.signature(cls).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise TypeError(f"{self.kind} {cls.__qualname__}: *args and **kwargs cannot be checked from a config")
            if parameter.name == "name":
                what = "'name' is the key by which a config chooses the part, and no parameter of it"
                raise TypeError(f"{self.kind} {cls.__qualname__}: {what}")
            if parameter.annotation is parameter.empty:
                raise TypeError(f"{self.kind} {cls.__qualname__}: parameter '{parameter.name}' has no type")

    def _import(self, name: str) -> type[T]:
        module_name, _, class_name = name.partition(":")
        try:
            cls = getattr(importlib.import_module(module_name), class_name)
        except ImportError as error:
            raise ConfigError(Problem("", f"{self.kind} '{name}': cannot import '{module_name}' ({error})")) from error
        except AttributeError:
            known = [
                key for key, value in vars(importlib.import_module(module_name)).items() if isinstance(value, type)
            ]
            raise ConfigError(
                Problem(
                    "",
                    f"{self.kind} '{name}': module '{module_name}' has no '{class_name}'",
                    did_you_mean(class_name, known),
                )
            ) from None
        if not isinstance(cls, type):
            raise ConfigError(Problem("", f"{self.kind} '{name}': '{class_name}' is not a class"))
        try:
            self._verify(cls)
        except TypeError as error:
            raise ConfigError(Problem("", str(error))) from None
        return cls


def import_all(package: str, path: Iterable[str]) -> None:
    """Imports every module of a package folder, so that each registers what it defines."""
    for module in sorted(info.name for info in pkgutil.iter_modules(path)):
        importlib.import_module(f"{package}.{module}")
