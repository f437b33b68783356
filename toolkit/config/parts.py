"""The description of all parts: a JSON Schema of configs that ships with the package and answers without torch.

`describe_parts.py` makes it from the classes, once; a test keeps it fresh. It counts as long as the signatures in the
package's files are those it was made from (`is_current`). A name of the form `module:Class`, and one that a program
registered itself, is answered by its class.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import Any

from toolkit.config.habits import usual_name
from toolkit.config.sections import KINDS
from toolkit.config.signatures import Schema, signature_schema
from toolkit.errors import ConfigError, Problem, did_you_mean, shortened
from toolkit.version import package_version

FILE = Path(__file__).with_name("parts.json")
FOLDERS = {
    "backbones": "toolkit.backbones",
    "necks": "toolkit.necks",
    "heads": "toolkit.heads",
    "losses": "toolkit.losses",
    "datasets": "toolkit.data.datasets",
    "transforms": "toolkit.data.transforms.pipeline",
    "evaluators": "toolkit.evaluators",
    "optimizers": "toolkit.engine.optim",
    "schedules": "toolkit.engine.optim",
}
"""Modules whose import registers the parts of a kind."""
_PACKAGE = Path(__file__).parents[1]
_INTERFACE = re.compile(
    r"""^(?: @\w+\.register\(.*\) | class\s.*: | \ {4}def\s__init__\((?:.|\n)*?\)(?:\s->\sNone)?:\n
        | \ {4}\w+:[^=\n]+=.*$ | \w+\s=\s(?:Annotated|Literal).* | \ {4}"\w+": )""",
    re.MULTILINE | re.VERBOSE,
)


class Parts:
    """Everything that may be named in a config, by kind and name.

    Args:
        schema: what `describe_parts.config_schema` makes; parts stand in its `$defs`.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._defs: Schema = schema["$defs"]

    def injected(self, kind: str) -> tuple[str, ...]:
        """Arguments of every part of a kind that follow from the other parts and are not set by hand."""
        return tuple(self._defs[KINDS[kind]]["x-injected"])

    def names(self, kind: str, *, foreign: bool = False) -> list[str]:
        """Names of a kind, sorted; `foreign`: those of other libraries' transforms too."""
        names = set(_registered(kind))
        prefix = f"{KINDS[kind]}."
        for key, part in self._defs.items():
            if key.startswith(prefix) and (foreign or "x-library" not in part):
                names.add(key.removeprefix(prefix))
        return sorted(names)

    def part(self, kind: str, name: str) -> Schema:
        """The object schema of a part's constructor. Raises ConfigError, with near names, for one that is not there."""
        if ":" in name:
            return _of_class(kind, own_class(kind, name))
        found = self._defs.get(f"{KINDS[kind]}.{name}")
        if found is not None:
            return found
        own = _registered(kind).get(name)
        if own is not None:
            return _of_class(kind, own)
        refused = self._defs[KINDS[kind]].get("x-refused", {}).get(name)
        if refused is not None:
            raise ConfigError(Problem("", refused))
        message = f"no {kind} is called '{shortened(name)}'" + (
            ", here or in albumentations" if kind == "transform" else ""
        )
        raise ConfigError(Problem("", message, self._meant(kind, name)))

    def _meant(self, kind: str, name: str) -> str:
        """What an unknown name may have meant: another tool's word, a depth in the name, or a near one."""
        usual = usual_name(kind, name)
        if usual and usual != name:
            return f"did you mean '{usual}'?"
        parted = re.match(r"([a-z]+)[_-]?([0-9]{2,3})(?![0-9])", name.lower())
        if parted:
            word, depth = parted.groups()
            known = self._defs.get(f"{KINDS[kind]}.{word}", {}).get("properties", {})
            if int(depth) in known.get("depth", {}).get("enum", ()):
                norm = ", batch_norm: true" if name.lower().endswith("_bn") and "batch_norm" in known else ""
                return f"write {{name: {word}, depth: {depth}{norm}}}"
        return did_you_mean(name, self.names(kind, foreign=True))

    def unknown_name(self, word: str, name: str) -> Problem | None:
        """What is said of text that is none of the names of a word ("timm net"); None for a known one.

        Names of a library count for the version that they were read from; of another one nothing is said.
        """
        known = self._defs[f"names.{word}"]
        asked = name.partition(known["x-until"])[0] if "x-until" in known else name
        is_known = (
            asked in known["enum"] or name in known["enum"] or name.startswith(tuple(known.get("x-beginnings", ())))
        )
        if is_known or any(
            (package_version(package) or "") != read for package, read in known.get("x-versions", {}).items()
        ):
            return None
        return Problem("", f"no {word} is called '{shortened(name)}'", did_you_mean(name, known["enum"]))


@cache
def shipped_parts() -> Parts:
    """The description that came with the package."""
    return Parts(json.loads(FILE.read_bytes()))


def is_current(schema: Schema) -> bool:
    """Whether a description is of these files: false in a tree where somebody changes a signature."""
    return bool(schema["x-interfaces"] == interfaces())


def interfaces() -> dict[str, int]:
    """{file: checksum of the lines that decide a signature} of every module that may define a part."""
    found = {}
    for module in [*FOLDERS.values(), "toolkit.data.transforms", "toolkit.data.classes", "toolkit.ops.class_weights"]:
        place = _PACKAGE.joinpath(*module.split(".")[1:])
        for path in sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
            lines = "\n".join(_INTERFACE.findall(path.read_text(encoding="utf-8")))
            found[path.relative_to(_PACKAGE).as_posix()] = zlib.crc32(lines.encode())
    return found


def own_class(kind: str, name: str) -> type:
    """The class behind `module:Class`. Raises ConfigError for whatever goes wrong with somebody's module.

    Python's own modules, some of which act when they are imported, hold no parts and are not imported.
    """
    module, _, class_name = name.partition(":")
    if not all(word.isidentifier() for word in [*module.split("."), class_name]):
        raise ConfigError(Problem("", f"{kind} '{name}': wanted module:Class, a module that Python can import"))
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise ConfigError(Problem("", f"{kind} '{name}': '{module}' is a module of Python's own and has no parts"))
    try:
        cls: type = registries()[KINDS[kind]].find(name)
        signature_schema(cls, {})
    except ConfigError:
        raise
    except Exception as error:  # it is somebody's code: anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(Problem("", f"{kind} '{name}' cannot be used: {reason}", f"look at {module}")) from error
    return cls


def registries() -> dict[str, Any]:
    """`toolkit.contracts.REGISTRIES`, imported when a class is asked: it needs torch."""
    tables: dict[str, Any] = importlib.import_module("toolkit.contracts").REGISTRIES
    return tables


def kinds_by_base(tables: dict[str, Any]) -> dict[type, str]:
    """{base class: word of its kind}, for `signature_schema`."""
    return {registry.base: registry.kind for registry in tables.values()}


def _of_class(kind: str, cls: type) -> Schema:
    tables = registries()
    registry = tables[KINDS[kind]]
    found = signature_schema(cls, kinds_by_base(tables), registry.injected, registry.settable)
    return {**found, "x-class": f"{cls.__module__}:{cls.__qualname__}"}


def _registered(kind: str) -> dict[str, type]:
    """Parts of a kind that are registered by now, if any were imported."""
    contracts = sys.modules.get("toolkit.contracts")
    return dict(contracts.REGISTRIES[KINDS[kind]].items()) if contracts is not None else {}
