"""Signatures of sections and of all registered parts, from the classes themselves, and the check of a config by them."""

from __future__ import annotations

import sys
import types
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from toolkit.config.annotations import Argument, part_of
from toolkit.config.checker import Checker
from toolkit.config.sections import Config, PartOf, PartSpec
from toolkit.config.signatures import constructor_arguments
from toolkit.config.source import Source
from toolkit.contracts import REGISTRIES, TRANSFORMS
from toolkit.data.transforms.pipeline import transform_class
from toolkit.errors import ConfigError, Problem
from toolkit.registry import Registry

_BY_WORD: dict[str, Registry[Any]] = {registry.kind: registry for registry in REGISTRIES.values()}


@cache
def arguments_of(cls: type) -> dict[str, Argument]:
    """Every argument of a class' constructor, annotations in config form. Injected ones are included."""
    return {
        name: argument._replace(annotation=_config_form(argument.annotation))
        for name, argument in constructor_arguments(cls).items()
    }


def _config_form(annotation: Any) -> Any:
    """The annotation with base classes of parts (PixelLoss) as `Annotated[PartSpec, PartOf("loss")]`."""
    for registry in REGISTRIES.values():
        if annotation is registry.base:
            return Annotated[PartSpec, PartOf(registry.kind)]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin not in (Union, types.UnionType, list, tuple, dict):
        return annotation
    changed = tuple(_config_form(item) for item in inner)
    if changed == inner:
        return annotation
    return Union[changed] if origin in (Union, types.UnionType) else origin[changed]  # noqa: UP007 - at run time


def registry_of(annotation: Any) -> Registry[Any] | None:
    """The registry an annotation in config form stands for, or None."""
    part = part_of(annotation)
    return _BY_WORD[part.kind] if part else None


def _outside(registry: Registry[Any], name: str) -> type:
    """The class behind `module:Class`. Raises ConfigError for whatever goes wrong with somebody's module.

    A config may come with a checkpoint of a stranger's: Python's own modules, some of which act when they are
    imported, hold no parts and are not imported for it.
    """
    module, _, class_name = name.partition(":")
    if not all(word.isidentifier() for word in [*module.split("."), class_name]):
        raise ConfigError(
            Problem("", f"{registry.kind} '{name}': wanted module:Class, a module that Python can import")
        )
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise ConfigError(
            Problem("", f"{registry.kind} '{name}': '{module}' is a module of Python's own and has no parts")
        )
    try:
        cls: type = registry.find(name)
        arguments_of(cls)
    except ConfigError:
        raise
    except Exception as error:  # it is somebody's code: anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(
            Problem("", f"{registry.kind} '{name}' cannot be used: {reason}", f"look at {module}")
        ) from error
    return cls


class LiveSignatures:
    """Signatures from the registries; transforms also know albumentations' names. See `Signatures`."""

    def kind(self, word: str) -> Registry[Any]:
        """See `Signatures`."""
        return _BY_WORD[word]

    def find(self, word: str, name: str) -> type:
        """See `Signatures`."""
        registry = _BY_WORD[word]
        if ":" in name:
            return _outside(registry, name)
        return transform_class(name) if registry is TRANSFORMS else registry.find(name)

    def arguments_of(self, cls: type) -> dict[str, Argument]:
        """See `Signatures`."""
        return arguments_of(cls)


def check(source: Source) -> Config:
    """Raises ConfigError with every problem of the file; builds nothing."""
    return Checker(source, LiveSignatures()).config()
