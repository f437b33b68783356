"""Worker processes of a loader: which signals they leave to their parent, and what is said when one of them dies."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import cv2
import torch

from toolkit.errors import Problem, UserError

T = TypeVar("T")
_KILLED = re.compile(r"DataLoader worker \(pid (\d+)\) is killed by signal: ([^.]+)")
_REMEDY = {
    "SIGKILL": ("most likely because memory ran out", "lower data.workers or data.batch_size, or free memory"),
    "SIGBUS": (
        "most likely because shared memory (/dev/shm) ran out",
        "raise its limit (docker run --shm-size) or set data.workers=0",
    ),
}


def start_worker(_number: int) -> None:
    """One thread a worker (many workers with many threads each slow one another); signals are the parent's to handle.

    Ctrl-C, a closed terminal and the SIGTERM of a scheduler reach the whole group of processes: the parent stops when
    its step is made, for which it still needs its workers. A SIGTERM that the parent itself sends is obeyed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on a Mac
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey, args=(os.getppid(),), daemon=True, name="SIGTERM").start()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _obey(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


@contextmanager
def signals_held() -> Iterator[None]:
    """While workers are started: a signal to all waits until each of them has said what it leaves to its parent."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def unwarned() -> Iterator[None]:
    """Around a DataLoader: the check of a config says already, with a number, where workers are more than cores."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


def received(iterator: Iterator[T]) -> Iterator[T]:
    """What a DataLoader's iterator gives. Raises UserError for a worker that died, which breaks the line to it in many ways."""
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except (RuntimeError, EOFError, ConnectionError) as error:
            dead = _dead(getattr(iterator, "_workers", []))
            if dead is None:
                raise
            raise UserError(_problem(*dead)) from error
        yield item


def _dead(workers: Sequence[Any]) -> tuple[int, int] | None:
    """(process number, exit code) of the first that has ended wrongly; one that has just died may take a moment to be so."""
    for _ in range(20 if workers else 0):
        codes = [(worker.pid, worker.exitcode) for worker in workers if worker.exitcode]
        if codes:
            return codes[0]
        time.sleep(0.05)
    return None


@contextmanager
def worker_deaths_explained() -> Iterator[None]:
    """Around work with loaders: raises UserError in place of what PyTorch raises, anywhere, when a worker was killed."""
    try:
        yield
    except RuntimeError as error:
        found = _KILLED.search(str(error))
        if found is None:
            raise
        number = next((n for n in signal.Signals if signal.strsignal(n) == found[2].strip()), signal.SIGKILL)
        raise UserError(_problem(int(found[1]), -number)) from error


def _problem(pid: int, code: int) -> Problem:
    """code: as multiprocessing has it, a signal's number being negative."""
    name = signal.Signals(-code).name if code < 0 else ""
    cause, remedy = _REMEDY.get(name, ("", "set data.workers=0 to see what goes wrong in it"))
    ended = f"was killed (signal {-code}, {name})" if name else f"ended with exit code {code}"
    message = f"a loader worker (process {pid}) {ended}{', ' if cause else ''}{cause}"
    return Problem("data.workers", message, f"{remedy}; a training continues from its last save with --resume")
