"""Signatures on file: what an earlier check learned of all parts, so that the next mistake is found without torch.

The file lies in the user's cache folder and holds names and types as JSON, never results: the same checker walks the
same config along the same signatures. It counts only for exactly this installation (`fingerprint`); a file that is
damaged, of another installation or not to be read is as good as none. Nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import toolkit
from toolkit.config.annotation_json import NotWritableError, from_json
from toolkit.config.annotations import Argument, StandIn
from toolkit.config.signatures import MISSING, constructor_arguments
from toolkit.errors import ConfigError, Problem, UserError, did_you_mean
from toolkit.files import cache_folder, replacing
from toolkit.version import __version__

_FORMAT = 1
_LARGEST = 8 << 20  # bytes; all of albumentations and this package take 100 thousand
_PACKAGES = ("torch", "torchvision", "albumentations", "pydantic", "timm", "segmentation-models-pytorch")


class NotOnFileError(Exception):
    """The file does not say; the classes themselves have to be asked."""


class StoredKind:
    """Names of one kind of part. See `Kind`."""

    def __init__(self, kind: str, stored: dict[str, Any], sections: Mapping[str, type]) -> None:
        self.kind = kind
        self.injected = tuple(_texts(stored["injected"]))
        self._names = _texts(stored["names"])
        self.near = _texts(stored["near"]) if stored["near"] is not None else None
        self.refused = {name: _text(message) for name, message in stored["refused"].items()}
        self.parts = {_text(name): _stand_in(name, rows, sections) for name, rows in stored["parts"].items()}

    def names(self) -> list[str]:
        """See `Kind`."""
        return self._names


class StoredSignatures:
    """Signatures from a file. Raises NotOnFileError for what the file does not say. See `Signatures`."""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        """stored: what `signature_record.record` made. Raises ValueError, TypeError or LookupError for anything else."""
        sections: dict[str, type] = {}
        for name, rows in stored["sections"].items():  # inner ones stand before outer ones
            sections[name] = _stand_in(name, rows, sections, is_section=True)
        self._kinds = {_text(word): StoredKind(word, kind, sections) for word, kind in stored["kinds"].items()}

    @property
    def knows_all_transforms(self) -> bool:
        """Whether albumentations' names are on file too."""
        return self.kind("transform").near is not None

    def kind(self, word: str) -> StoredKind:
        """See `Signatures`."""
        if word not in self._kinds:
            raise NotOnFileError(word)
        return self._kinds[word]

    def find(self, word: str, name: str) -> type:
        """See `Signatures`."""
        kind = self.kind(word)
        if name in kind.parts:
            return kind.parts[name]
        if name in kind.refused:
            raise ConfigError(Problem("", kind.refused[name]))
        if ":" in name or name in kind.names() or kind.near is None or name in kind.near:
            raise NotOnFileError(name)
        raise ConfigError(no_such_part(word, name, kind.near))

    def arguments_of(self, cls: type) -> Mapping[str, Argument]:
        """See `Signatures`."""
        return cls.signature if issubclass(cls, StandIn) else constructor_arguments(cls)


def load() -> StoredSignatures | None:
    """The signatures on file for this installation, or None."""
    path = signature_path()
    try:
        if path is None or path.stat().st_size > _LARGEST:
            return None
        stored = json.loads(path.read_bytes())
        if stored["format"] != _FORMAT or stored["fingerprint"] != fingerprint():
            return None
        return StoredSignatures(stored)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, NotWritableError):
        return None


def save(record: Mapping[str, Any]) -> None:
    """Writes what `signature_record.record` made; a folder that cannot be written is done without."""
    path = signature_path()
    if path is not None:
        with suppress(UserError), replacing(path, durable=False) as part:
            part.write_text(json.dumps({"format": _FORMAT, "fingerprint": fingerprint(), **record}), encoding="utf-8")


def signature_path() -> Path | None:
    """Where this installation's signatures are kept; installations side by side do not share a file."""
    folder = cache_folder()
    place = f"{Path(toolkit.__file__).parent} {sys.prefix} {sys.version}"
    return folder and folder / f"signatures-{hashlib.sha256(place.encode()).hexdigest()[:16]}.json"


def fingerprint() -> str:
    """Everything that signatures depend on: versions, and names, sizes and times of the package's own files."""
    digest = hashlib.sha256(f"{__version__} {sys.version}".encode())
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            digest.update(f" {package} {version(package)}".encode())
    root = str(Path(toolkit.__file__).parent)
    for name, size, modified in sorted(_sources(root)):
        digest.update(f"\n{name[len(root) :]} {size} {modified}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _sources(folder: str) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir() and entry.name != "__pycache__":
                yield from _sources(entry.path)
            elif entry.name.endswith(".py"):
                status = entry.stat()
                yield entry.path, status.st_size, status.st_mtime_ns


def _stand_in(name: str, rows: Any, sections: Mapping[str, type], *, is_section: bool = False) -> type[StandIn]:
    arguments = {}
    for argument, required, annotation in rows:
        # Injected arguments have no annotation on file: nobody may set them.
        plain = None if annotation is None else from_json(annotation, sections)
        arguments[_text(argument)] = Argument(argument, plain, MISSING if required else None)
    return type(_text(name), (StandIn,), {"signature": arguments, "is_section": is_section})


def _texts(values: Any) -> list[str]:
    return [_text(value) for value in values]


def _text(value: Any) -> str:
    """Text that may reach a terminal."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"no text: {value!r:.80}")
    return value


def no_such_part(word: str, name: str, known: list[str]) -> Problem:
    """As the registries say it."""
    if word == "transform":
        message = f"no transform is called '{name}', here or in albumentations"
    else:
        message = f"no {word} is called '{name}'"
    return Problem("", message, did_you_mean(name, known))
