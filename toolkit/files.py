"""Files that appear whole or not at all, and what is said when the disk refuses."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from toolkit.errors import Problem, UserError


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to; at the end it is renamed over `path`. Folders are made.

    durable: the bytes are forced to the disk before the rename, so that they survive a power cut; not worth its time
    for files that can be made again. Raises UserError for an OSError; what stood at `path` is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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


def cannot_write(path: Path, error: OSError) -> UserError:
    """The message for a file that could not be written."""
    reason = error.strerror or str(error)
    remedy = (
        "free space or choose another folder" if error.errno == errno.ENOSPC else "choose a folder that can be written"
    )
    return UserError(Problem(str(path.absolute()), f"cannot be written: {reason}", f"{remedy}; what was there is kept"))
