"""Bytes that a forward pass keeps for backward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


class Kept:
    """What is kept so far: every memory block once, parameters and buffers left out."""

    def __init__(self) -> None:
        self.blocks: dict[int, int] = {}

    @property
    def bytes(self) -> int:
        """How many bytes are kept in all."""
        return sum(self.blocks.values())


@contextmanager
def kept_for_backward(net: nn.Module) -> Iterator[Kept]:
    """Counts what autograd saves within, also on the meta device; read it before the backward pass.

    A tensor that is recomputed in backward is not kept, the input it is recomputed from is.
    """
    own = {tensor.untyped_storage()._cdata for tensor in (*net.parameters(), *net.buffers())}
    kept = Kept()

    def note(tensor: Tensor) -> Tensor:
        block = tensor.untyped_storage()
        if block._cdata not in own:
            kept.blocks[block._cdata] = block.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        yield kept
