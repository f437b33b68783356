"""Whether published weights may be fetched now: a check must not, a training may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from toolkit.errors import CheckpointError, Problem

_ALLOWED: ContextVar[bool] = ContextVar("downloads_allowed", default=True)


class NeedsDownloadError(CheckpointError):
    """Weights that are not on this machine, where fetching them is not wanted now."""


@contextmanager
def without_downloads() -> Iterator[None]:
    """Inside, a part whose weights have to be fetched raises NeedsDownloadError instead."""
    token = _ALLOWED.set(False)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def refuse_download(argument: str, what: str) -> None:
    """To be called before `what` is fetched. Raises NeedsDownloadError where that is not wanted.

    argument: of the part, that asks for it.
    """
    if not _ALLOWED.get():
        raise NeedsDownloadError(Problem(argument, f"{what} are not on this machine: the training fetches them"))
