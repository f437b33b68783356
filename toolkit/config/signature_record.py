"""Writes down the signatures of all parts, for the next check that wants to do without torch (`signature_file.py`)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, get_args

import toolkit.config.load  # noqa: F401 - registers the parts
from toolkit.config.annotation_json import NotWritableError, section_name, to_json
from toolkit.config.annotations import Argument, is_section, part_of
from toolkit.config.schema import arguments_of
from toolkit.config.signatures import MISSING
from toolkit.contracts import REGISTRIES, TRANSFORMS
from toolkit.data.transforms.albumentation import operation_class, operation_names, refused_operations
from toolkit.registry import Registry


def record() -> dict[str, Any] | None:
    """What `StoredSignatures` reads; None when parts are registered that are not the package's own.

    albumentations' transforms are in it when albumentations is imported already: it is not waited for here.
    """
    if any(not _is_own(cls) for registry in REGISTRIES.values() for _, cls in registry.items()):
        return None
    sections: dict[str, Any] = {}
    return {
        "kinds": {registry.kind: _kind(registry, sections) for registry in REGISTRIES.values()},
        "sections": sections,
    }


def _is_own(cls: type) -> bool:
    return cls.__module__.split(".")[0] == "toolkit"


def _kind(registry: Registry[Any], sections: dict[str, Any]) -> dict[str, Any]:
    classes: dict[str, Any] = dict(registry.items())
    near: list[str] | None = registry.names()
    refused: dict[str, str] = {}
    if registry is TRANSFORMS:
        near = None
        if "albumentations" in sys.modules:
            refused = refused_operations()
            near = [*registry.names(), *operation_names()]
            classes = {name: operation_class(name) for name in operation_names()} | classes
    parts = {}
    for name, cls in classes.items():
        with suppress(NotWritableError):  # a check that meets it asks the class itself
            parts[name] = _rows(arguments_of(cls), registry.injected, sections)
    return {
        "injected": list(registry.injected),
        "names": registry.names(),
        "near": near,
        "refused": refused,
        "parts": parts,
    }


def _rows(arguments: Mapping[str, Argument], hidden: tuple[str, ...], sections: dict[str, Any]) -> list[list[Any]]:
    """[name, whether it must be given, type] of each argument; sections among the types are added to `sections`."""
    rows = []
    for argument in arguments.values():
        annotation = None
        if argument.name not in hidden:
            _add_sections(argument.annotation, sections)
            annotation = to_json(argument.annotation)
        rows.append([argument.name, argument.default is MISSING, annotation])
    return rows


def _add_sections(annotation: Any, sections: dict[str, Any]) -> None:
    if part_of(annotation):
        return
    if is_section(annotation):
        if section_name(annotation) not in sections:
            # Rows first: the sections inside come to stand before this one.
            sections[section_name(annotation)] = _rows(arguments_of(annotation), (), sections)
        return
    for inner in get_args(annotation):
        _add_sections(inner, sections)
