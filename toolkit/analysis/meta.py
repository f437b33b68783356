"""Building a model without numbers, to look at its shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from toolkit.analysis.watch import Watch, run


class _NoNumbers(Watch):
    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


@contextmanager
def blank() -> Iterator[None]:
    """Whatever is built inside lies on the meta device: shapes without numbers or memory, in milliseconds.

    >>> with blank():
    ...     layer = torch.nn.Linear(2, 3)
    >>> layer.weight.is_meta
    True
    """
    with torch.device("meta"), _NoNumbers():
        yield
