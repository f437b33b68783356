"""Signatures of sections and of all registered parts, from the classes themselves, and the check of a config by them."""

from __future__ import annotations

import types
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from toolkit.config.annotations import Argument, part_of
from toolkit.config.checker import Checker
from toolkit.config.sections import Config, PartOf, PartSpec
from toolkit.config.signatures import constructor_arguments
from toolkit.config.source import Source
from toolkit.contracts import REGISTRIES, TRANSFORMS
from toolkit.data.transforms import transform_class
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


class LiveSignatures:
    """Signatures from the registries; transforms also know albumentations' names. See `Signatures`."""

    def kind(self, word: str) -> Registry[Any]:
        """See `Signatures`."""
        return _BY_WORD[word]

    def find(self, word: str, name: str) -> type:
        """See `Signatures`."""
        registry = _BY_WORD[word]
        return transform_class(name) if registry is TRANSFORMS and ":" not in name else registry.find(name)

    def arguments_of(self, cls: type) -> dict[str, Argument]:
        """See `Signatures`."""
        return arguments_of(cls)


def check(source: Source) -> Config:
    """Raises ConfigError with every problem of the file; builds nothing."""
    return Checker(source, LiveSignatures()).config()
