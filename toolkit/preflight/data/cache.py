"""What earlier checks have seen of the same files, in the user's cache folder. Nothing depends on it but time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from toolkit.errors import UserError
from toolkit.files import cache_folder, replacing
from toolkit.preflight.data.record import SampleRecord, record_version
from toolkit.version import __version__

_FORMAT = 3
"""Raised when a field of a record means something else than before; other fields are told by `record_version`."""

_RECORD = TypeAdapter(SampleRecord)


class RecordCache:
    """Records of one data set by a key for each sample.

    identity: everything else that a record depends on (which data set class, with which arguments); a key adds the
    paths, sizes and times of the sample's files. A file that is missing, damaged or of another version holds nothing;
    where no folder can be written, nothing is kept.
    """

    def __init__(self, identity: str) -> None:
        self._identity = f"{__version__} {_FORMAT} {record_version()} {identity}"
        folder = cache_folder()
        name = hashlib.sha256(self._identity.encode()).hexdigest()[:32]
        self._path = folder / "samples" / f"{name}.json" if folder is not None else None
        self._known = self._read()
        self._states: dict[Path, str] = {}

    def key(self, files: Sequence[Path]) -> str | None:
        """A name of the files' identities; None when one of them cannot be looked at, or there are none."""
        try:
            states = [self._state(path) for path in files]
        except OSError:
            return None
        return hashlib.sha256("\n".join(states).encode("utf-8", "surrogateescape")).hexdigest()[:32] if states else None

    def get(self, key: str | None) -> SampleRecord | None:
        """The record under a key from an earlier read, or None when there is none."""
        return None if key is None else self._known.get(key)

    def keep(self, records: dict[str, SampleRecord]) -> None:
        """Writes these, and forgets all others, when anything has changed."""
        if self._path is None or records == self._known:
            return
        rows = {key: dataclasses.asdict(record) for key, record in records.items()}
        body = json.dumps(rows, separators=(",", ":"))
        with suppress(UserError), replacing(self._path, durable=False) as part:
            part.write_text(f"{_checksum(body)}\n{body}", encoding="utf-8")

    def _state(self, path: Path) -> str:
        if path not in self._states:
            status = path.stat()
            # A copy may keep the time of the last change; the inode's own time it cannot keep.
            times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
            self._states[path] = f"{path.absolute()} {status.st_size} {times}"
        return self._states[path]

    def _read(self) -> dict[str, SampleRecord]:
        try:
            text = self._path.read_text(encoding="utf-8") if self._path is not None else ""
            checksum, _, body = text.partition("\n")
            if not body or checksum != _checksum(body):
                return {}
            rows: dict[str, Any] = json.loads(body)
        except (OSError, ValueError):
            return {}
        known = {}
        for key, row in rows.items():
            with suppress(ValidationError):  # a name that is no Unicode, say: it is read again
                known[key] = _RECORD.validate_python(row)
        return known


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
