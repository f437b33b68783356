"""Makes the description of all parts from their classes: `python -m toolkit.config.describe_parts` writes `parts.json`.

Nobody else asks the classes. A signature, default or docstring that changes wants `make parts`; a test compares.
"""

from __future__ import annotations

import importlib
import json
from collections import Counter
from functools import cache
from typing import Any

from toolkit.config.docstrings import whole
from toolkit.config.parts import FILE, FOLDERS, Parts, interfaces, kinds_by_base, registries
from toolkit.config.sections import Config
from toolkit.config.signatures import signature_schema

_ENOUGH = 6
"""Words from which on a help of albumentations says more than the name."""
_OWN_HELP = {
    "height": "pixels from top to bottom after the transform",
    "width": "pixels from left to right after the transform",
    "pad_position": "where on the padded canvas the image comes to lie",
    "rain_type": "how strong it rains, which sets length and brightness of the drops",
}
_ALBUMENTATIONS = "toolkit.data.transforms.albumentation"


@cache
def live_parts() -> Parts:
    """The description as it would be made now. Takes seconds: torch and all parts are imported."""
    return Parts(config_schema())


def config_schema() -> dict[str, Any]:
    """The description: sections as `properties`, every part in `$defs`, "losses" the kind and "losses.dice" a part.

    Beside the words of `signatures.py` it holds what the check needs to know: names that others keep, refused
    transforms, and the state of the files it was made from.
    """
    for module in FOLDERS.values():
        importlib.import_module(module)
    tables = registries()
    kinds = kinds_by_base(tables)
    definitions: dict[str, Any] = {}
    for plural, registry in tables.items():
        parts = {name: _part(cls, kinds, registry.injected, registry.settable) for name, cls in registry.items()}
        refused = {}
        if plural == "transforms":
            parts |= _albumentations(kinds)
            refused = importlib.import_module(_ALBUMENTATIONS).refused_operations()
        definitions[plural] = {"x-injected": list(registry.injected), "x-refused": refused}
        definitions |= {f"{plural}.{name}": part for name, part in parts.items()}
    return {
        **signature_schema(Config, {}),
        "x-interfaces": interfaces(),
        "$defs": definitions | {f"names.{word}": names for word, names in _names().items()},
    }


def text(schema: dict[str, Any]) -> str:
    """A description as the file holds it: stable, and a line for each leaf, so that changes are readable."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _part(
    cls: type, kinds: dict[type, str], injected: tuple[str, ...], settable: tuple[str, ...] = ()
) -> dict[str, Any]:
    found = signature_schema(cls, kinds, injected, settable)
    return {**found, "x-class": f"{cls.__module__}:{cls.__qualname__}", "x-doc": whole(cls)}


def _albumentations(kinds: dict[type, str]) -> dict[str, Any]:
    module = importlib.import_module(_ALBUMENTATIONS)
    classes = {name: module.operation_class(name) for name in module.operation_names()}
    parts = {name: {**_part(cls, kinds, ()), "x-library": "albumentations"} for name, cls in classes.items()}
    _fill_help(parts)
    return parts


def _fill_help(parts: dict[str, Any]) -> None:
    """Arguments that are told in a few words only take `_OWN_HELP`, or what most others say of one of that name."""
    said: dict[str, Counter[str]] = {}
    for part in parts.values():
        for name, argument in part["properties"].items():
            said.setdefault(name, Counter())[argument.get("description", "")] += 1
    for name, words in said.items():
        enough = [(count, text) for text, count in words.items() if len(text.split()) >= _ENOUGH]
        instead = _OWN_HELP.get(name) or (max(enough)[1] if enough else "")
        for part in parts.values():
            argument = part["properties"].get(name)
            if instead and argument is not None and len(argument.get("description", "").split()) < _ENOUGH:
                argument["description"] = instead


def _names() -> dict[str, dict[str, Any]]:
    """Lists behind `NamesOf` marks: names that others keep, with the version of the library they were read from."""
    from importlib.metadata import version

    import timm
    from segmentation_models_pytorch.encoders import encoders

    weights = importlib.import_module("toolkit.ops.class_weights")
    tables = importlib.import_module("toolkit.data.classes.tables")
    return {
        "timm net": {
            "enum": sorted({*timm.list_models(), *timm.list_pretrained()}),
            "x-until": ".",  # a tag after it chooses among the weights of a net
            "x-beginnings": ["hf-hub:", "hf_hub:", "local-dir:"],
            "x-versions": {"timm": version("timm")},
        },
        "smp encoder": {
            "enum": sorted(encoders),
            "x-beginnings": ["tu-"],
            "x-versions": {"segmentation-models-pytorch": version("segmentation-models-pytorch")},
        },
        "class preset": {"enum": tables.preset_names()},
        "class weighting": {"enum": sorted([*weights.PRESETS, *weights.COMPUTED])},
    }


if __name__ == "__main__":
    FILE.write_text(text(config_schema()), encoding="utf-8")
