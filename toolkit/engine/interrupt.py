"""Ctrl-C and SIGTERM as a request that the loop honours between two steps; a second one stops at once."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

import torch

_ONE_REQUEST = 1.0
"""Seconds within which signals are one request: of Ctrl-C, torchrun passes on what the terminal has sent already."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """The user (or the machine's scheduler) asked the work to stop; everything is saved. exit_code 130."""

    exit_code = 130


class StopRequest:
    """Context manager: `requested` becomes True at the first SIGINT or SIGTERM; handlers are put back at the end.

    A second signal, more than a second later, raises KeyboardInterrupt. Signal handlers belong to the main thread;
    elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._since = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

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
        now = time.monotonic()
        if self.requested and self._since and now - self._since > _ONE_REQUEST:
            raise KeyboardInterrupt
        self.requested = True
        self._since = self._since or now
