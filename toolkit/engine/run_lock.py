"""One folder, one job: a lock with the process, the machine and the start, which a dead process does not hold."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.errors import ConfigError, Problem, UserError
from toolkit.files import cannot_write

LOCK_FILE = "run.lock"
BEAT = 5.0
"""Seconds between two signs of life in the file. Of another machine's lock three are awaited before it counts as left."""

_ours: set[Path] = set()
"""Lock files of this very process: the system's locks are between processes."""


class Holder(NamedTuple):
    """Who has a run folder: process number, machine, and the start of its work there.

    Args:
        pid: number of the process that works there.
        host: name of the machine it runs on.
        since: when its work there began, as text.
    """

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


class RunLock:
    """Held as long as a job writes into a folder; made by `lock_folder`.

    The system's lock on the file (`fcntl`) ends with its process however that ends, and is what decides, also between
    machines where the file system shares locks. Where it does not, the file's beat, written every few seconds, shows
    whether the other machine's process lives.

    Args:
        path: the lock file, which is open as `descriptor`.
        descriptor: descriptor of the open and locked file; closing it would end the lock.
        taken_from: who held it before and died, or None.
    """

    def __init__(self, path: Path, descriptor: int, taken_from: Holder | None) -> None:
        self.path, self.taken_from = path, taken_from
        self.holder = Holder(os.getpid(), platform.node(), time.strftime("%Y-%m-%d %H:%M:%S"))
        self._descriptor, self._beat = descriptor, 0
        self._ended = threading.Event()
        self._write()
        _ours.add(path)
        threading.Thread(target=self._live, daemon=True, name="run lock").start()

    def check(self) -> None:
        """Raises UserError when another process has taken the folder, as after this one was suspended for long."""
        other = _read(self._descriptor)[0]
        if other is not None and other != self.holder:
            message = f"was taken over by {other} while this process stood still"
            raise UserError(Problem(self.path.parent, message, "nothing more is written; what is there is the other's"))

    def release(self) -> None:
        """Ends the lock and takes the file away; twice does no harm."""
        if self._ended.is_set() or self.holder.pid != os.getpid():
            return
        self._ended.set()
        if _read(self._descriptor)[0] == self.holder:
            with suppress(OSError):
                self.path.unlink()
        _ours.discard(self.path)
        os.close(self._descriptor)

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):  # a full disk, or closed just now
                if _read(self._descriptor)[0] != self.holder:
                    return
                self._write()

    def _write(self) -> None:
        self._beat += 1
        text = json.dumps({**self.holder._asdict(), "beat": self._beat}) + "\n"
        os.ftruncate(self._descriptor, os.pwrite(self._descriptor, text.encode(), 0))


def lock_folder(
    folder: Path,
    name: str = LOCK_FILE,
    work: str = "is being trained by",
    remedy: str = "wait for its end or stop it, or take another folder with --run",
) -> RunLock:
    """Takes a lock of a folder. Raises ConfigError when a living process has it, UserError when nothing can be written.

    Args:
        folder: the folder, which is there.
        name: of the lock file in it.
        work: what a folder that is locked is said to suffer, before the name of its holder.
        remedy: what to do about that.
    """
    path = folder.absolute() / name

    def refused(holder: Holder | str) -> ConfigError:
        return ConfigError(Problem(path.parent, f"{work} {holder}", remedy))

    if path in _ours:
        raise refused("this process itself")
    descriptor = _locked_file(path, refused)
    before, beat = _read(descriptor)
    if before is not None and before.host != platform.node():
        time.sleep(3 * BEAT)
        if _read(descriptor) != (before, beat):
            os.close(descriptor)
            raise refused(before)
    try:
        return RunLock(path, descriptor, before)
    except OSError as error:
        os.close(descriptor)
        raise cannot_write(path, error) from error


def is_locked(folder: Path) -> bool:
    """Whether a living process trains in a folder; a lock of another machine counts, alive or not."""
    path = folder.absolute() / LOCK_FILE
    if path in _ours:
        return True
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # nobody's, or one that is not for us to write
        return False
    try:
        holder = _read(descriptor)[0]
        return not _lock(descriptor) or (holder is not None and holder.host != platform.node())
    finally:
        os.close(descriptor)


def _locked_file(path: Path, refused: Callable[[Holder | str], ConfigError]) -> int:
    """The lock file, open and locked by this process."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise cannot_write(path, error) from error
        if not _lock(descriptor):
            holder = _read(descriptor)[0]
            os.close(descriptor)
            raise refused(holder or "another process that started just now")
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)  # its holder ended and took it away between the two calls


def _lock(descriptor: int) -> bool:
    """Whether this process has the lock now. Where the file system knows no locks, the process number decides."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
    holder = _read(descriptor)[0]
    return holder is None or holder.host != platform.node() or not _lives(holder.pid)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _read(descriptor: int) -> tuple[Holder | None, int]:
    """Who is written in an open lock file, and the beat; (None, 0) for an empty one."""
    return _parsed(os.pread(descriptor, 4096, 0))


def _parsed(data: bytes) -> tuple[Holder | None, int]:
    try:
        raw: dict[str, Any] = json.loads(data)
        return Holder(int(raw["pid"]), str(raw["host"]), str(raw["since"])), int(raw["beat"])
    except (ValueError, KeyError, TypeError):
        return None, 0
