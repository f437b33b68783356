"""A picture's file as bytes that are all there: what is missing, empty, no file or cut short is refused."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from toolkit.data.faults.leaving_out import FileError
from toolkit.data.images.checks import Encoded, inspect_encoded
from toolkit.data.images.limits import refuse_size
from toolkit.errors import Problem, missing_path


def file_bytes(path: Path) -> bytes:
    """The whole file. Raises DataError for one that is missing, empty, unreadable or no file."""
    file_stamp(path)
    with _opened_at(path):
        return path.read_bytes()


def file_stamp(path: Path) -> tuple[int, int]:
    """Bytes of a file and its time of change in nanoseconds. Raises DataError for one that is missing, empty or no file."""
    with _opened_at(path):
        found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # reading a pipe or a device may never end
        fail("unreadable", path, "is no file (a folder, a pipe or a device)", "remove it")
    if not found.st_size:
        fail("empty", path, "the file is empty (0 bytes)", "fetch it again, or remove it")
    return found.st_size, found.st_mtime_ns


@contextmanager
def _opened_at(path: Path) -> Iterator[None]:
    """Inside, what the system says of a path that cannot be read is a DataError."""
    try:
        yield
    except FileNotFoundError:
        raise FileError("missing", missing_path("file", path), file=str(path)) from None
    except OSError as error:
        raise FileError("unreadable", Problem(path, f"cannot be read: {error.strerror}")) from None


def checked_headers(path: Path, data: bytes) -> Encoded | None:
    """Headers of a JPEG or PNG that is complete; None for other formats, which Pillow reads strictly."""
    encoded = inspect_encoded(data)
    if encoded is not None and encoded.damage:
        kind = "truncated" if encoded.damage.startswith("truncated") else "damaged"
        fail(kind, path, f"the {encoded.kind.upper()} is {encoded.damage}", "fetch it again, or remove it")
    if encoded is not None:
        refuse_size(path, encoded.size)
    return encoded


def fail(kind: str, path: str | Path, message: str, suggestion: str = "") -> NoReturn:
    """Raises DataError, as a `FileError`.

    Args:
        kind: short stable word for what is wrong.
        path: the file at fault, as the message names it.
        message: what was wanted and what was found.
        suggestion: what to do about it.
    """
    raise FileError(kind, Problem(path, message, suggestion))
