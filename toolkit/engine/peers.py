"""Several processes at one work: they stop together, and the one that failed is the one that explains."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from toolkit.errors import Problem, UserError

_LOST = re.compile(
    r"gloo|NCCL|Connection (closed|reset|refused)|Broken pipe|process group|TCPStore|remote process", re.IGNORECASE
)


@contextmanager
def explained(fabric: Any) -> Iterator[None]:
    """Around work of several processes: when another one's end stops this one, a sentence and no traceback.

    Raises UserError in place of what a broken connection looks like; everything else as it is.
    """
    try:
        yield
    except Exception as error:
        if fabric.world_size > 1 and is_lost_connection(error):
            number = f"process {fabric.global_rank + 1} of {fabric.world_size}"
            message = f"stops because another process ended ({str(error).splitlines()[0][:120]})"
            raise UserError(Problem(number, message, "that one's own message says why")) from error
        raise


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error says that another process cannot be reached any more."""
    if isinstance(error, UserError):
        return False
    return isinstance(error, torch.distributed.DistError) or (
        isinstance(error, RuntimeError) and _LOST.search(str(error)) is not None
    )


def share_buffers(fabric: Any, model: nn.Module) -> None:
    """Gives every process the first one's buffers (running means), which otherwise are those of its own batches."""
    if fabric.world_size > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)
