"""Ctrl-C, SIGTERM and SIGHUP as a request that the loop honours between two steps; a second one stops at once."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, TypeVar

import torch

_ONE_REQUEST = 1.0
"""Seconds within which signals are one request: of Ctrl-C, torchrun passes on what the terminal has sent already."""

T = TypeVar("T", bound="_OnSignal")


class Interrupted(Exception):  # noqa: N818 - not an error
    """The user (or the machine's scheduler) asked the work to stop; everything is saved. exit_code 130."""

    exit_code = 130


class _OnSignal:
    """Context manager: `_on_signal` answers SIGINT, SIGTERM and SIGHUP; the handlers before it are put back at the end.

    Signal handlers belong to the main thread; elsewhere this does nothing. A SIGHUP that `nohup` ignores stays ignored.
    """

    def __init__(self) -> None:
        self._previous: dict[int, Any] = {}

    def __enter__(self: T) -> T:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        raise NotImplementedError


class StopAtOnce(_OnSignal):
    """Around work that has nothing to save yet: each of the signals ends it as Ctrl-C does, what it holds being let go."""

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        _leave_lost_terminal(number)
        raise KeyboardInterrupt


class StopRequest(_OnSignal):
    """Context manager: `requested` becomes True at the first SIGINT, SIGTERM or SIGHUP.

    A second signal, more than a second later, raises KeyboardInterrupt.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requested = False
        self._since = 0.0

    def agreed(self, fabric: Any) -> bool:
        """Whether any process was asked to stop: the same answer in all, so that all stop at the same step.

        With several processes it is a message between them, and every one has to call it.
        """
        if fabric.world_size > 1:
            asked = torch.tensor(float(self.requested), device=fabric.device)
            stop = bool(fabric.all_reduce(asked, reduce_op="max").item())
            self.requested = self.requested or stop  # a signal may have come since: the next call tells the others
            return stop
        return self.requested

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        _leave_lost_terminal(number)
        now = time.monotonic()
        if self.requested and self._since and now - self._since > _ONE_REQUEST:
            raise KeyboardInterrupt
        self.requested = True
        self._since = self._since or now


def _leave_lost_terminal(number: int) -> None:
    """After a hang-up: what is written to a terminal that is gone goes nowhere from here on, instead of raising."""
    if number != signal.SIGHUP:
        return
    for descriptor in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
