"""Files that appear whole or not at all, what is said when the disk refuses, and where the user's cache is."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from stat import S_ISDIR
from typing import IO, Any, Literal

from toolkit.errors import Problem, UserError

_LONGEST = 255
"""Bytes of a file's name that Linux, macOS and Windows take."""


def cache_folder() -> Path | None:
    """The toolkit's folder in the user's cache, not made here; None when the system names no such place.

    $XDG_CACHE_HOME/toolkit where that is set, else ~/.cache/toolkit; %LOCALAPPDATA%/toolkit/cache on Windows,
    ~/Library/Caches/toolkit on a Mac. What lies there can be deleted at any time.
    """
    chosen = os.environ.get("XDG_CACHE_HOME")
    if chosen and Path(chosen).is_absolute():
        return Path(chosen) / "toolkit"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "toolkit" / "cache"
    return (home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache") / "toolkit"


def what_is(path: Path) -> Literal["folder", "file", ""]:
    """What stands at a path: "" for nothing, or for a name that the system does not take."""
    try:
        return "folder" if S_ISDIR(path.stat().st_mode) else "file"
    except (OSError, ValueError):
        return ""


class _Writer:
    """A file that remembers what the disk said: writers in C++ tell of it in words of their own, or not at all."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """As the file's own."""
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """As the file's own."""
        self._file.flush()


@contextmanager
def writable(path: Path) -> Iterator[Any]:
    """A binary file for libraries to write to (`torch.save`). Raises OSError when the disk refuses, whatever they make of it."""
    with path.open("wb", buffering=0) as file:
        writer = _Writer(file)
        try:
            yield writer
        except Exception as error:
            if writer.error is not None:
                raise writer.error from error
            raise


def temporary_beside(path: Path, number: int | str = "") -> Path:
    """A hidden path of this process' beside a file that is being made. number: of several for one file."""
    ending = f".{os.getpid()}{number}.tmp"
    name = f".{path.name}{ending}"
    if len(os.fsencode(name)) > _LONGEST:  # a name may fit a disk that has no room for ours beside it
        name = f".{blake2b(os.fsencode(path.name), digest_size=8).hexdigest()}{ending}"
    return path.with_name(name)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to; at the end it is renamed over `path`. Folders are made.

    durable: the bytes are forced to the disk before the rename, so that they survive a power cut; not worth its time
    for files that can be made again. Raises UserError for an OSError; what stood at `path` is then untouched.
    """
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode  # writers that make the file anew may keep it from others
        yield temporary
        temporary.chmod(mode)
        if durable:
            _flush(temporary)
        temporary.replace(path)
        if durable:
            _flush(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Forces a file, or a folder's entries, to the disk, where the system can do that."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # a folder cannot be opened on Windows
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_full(error: OSError) -> bool:
    """Whether there was no room: on the disk, in the user's share of it, or below the largest size of a file."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cannot_write(path: Path, error: OSError) -> UserError:
    """The message for a file that could not be written."""
    reason = error.strerror or str(error)
    remedy = "free space or choose another folder" if is_full(error) else "choose a folder that can be written"
    return UserError(Problem(path.absolute(), f"cannot be written: {reason}", f"{remedy}; what was there is kept"))
