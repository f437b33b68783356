"""What a pass keeps in memory, measured from the tensors themselves: for backward, and alive at one moment.

On the meta device nothing is allocated and the bytes are the same: storages have sizes there, too.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from toolkit.analysis.anatomy import Kept
from toolkit.analysis.watch import Watch, run

_LARGEST = 10


class Callers:
    """Which module is being run: the innermost one, by its path."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._path: list[str] = []

    @property
    def now(self) -> str:
        """The path, "" outside every module."""
        return self._path[-1] if self._path else ""

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follows the passes inside the block."""
        handles = []
        for path, module in self.model.named_modules():
            handles.append(module.register_forward_pre_hook(self._entering(path)))
            handles.append(module.register_forward_hook(self._leaving, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._path.clear()

    def _entering(self, path: str) -> Callable[..., None]:
        return lambda *_: self._path.append(path)

    def _leaving(self, *_: Any) -> None:
        self._path.pop()


def kept_for_backward(model: nn.Module, work: Callable[[], Any]) -> tuple[int, tuple[Kept, ...]]:
    """Bytes of the storages that `work()` saves for backward, and the layers that save most.

    Each storage counts once, for the layer that saves it first; parameters and buffers, which are there anyway, do not
    count. What only the result holds (the loss, or logits that nothing saved) does not either.
    """
    owned = {id(_storage(t)): _storage(t) for t in (*model.parameters(), *model.buffers())}
    seen: dict[int, Any] = dict(owned)
    by_layer: Counter[str] = Counter()
    callers = Callers(model)

    def pack(tensor: Tensor) -> Tensor:
        storage = _storage(tensor)
        if id(storage) not in seen:
            seen[id(storage)] = storage  # held, so that its id is nobody else's
            by_layer[callers.now] += storage.nbytes()
        return tensor

    with callers.followed(), torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        result = work()
    del result
    return by_layer.total(), _largest(by_layer)


class Alive(Watch):
    """Bytes of activations that are alive, watched operation by operation; `peak` is the most there ever were.

    Workspaces inside an operation are not seen. A result that lies in its input's memory (in-place, a view) is no more.
    """

    def __init__(self, model: nn.Module, given: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.bytes = 0
        self.peak = 0
        self.peak_layer = ""
        self.at_peak: Counter[str] = Counter()
        self._alive: Counter[str] = Counter()
        self._known: Any = WeakIdKeyDictionary()
        self._callers = Callers(model)
        for tensor in (*model.parameters(), *model.buffers()):
            self._known[_storage(tensor)] = True
        for tensor in given:
            self._note(tensor, "images")

    @contextmanager
    def watched(self) -> Iterator[Alive]:
        """Watches the passes inside the block, without gradients."""
        with self._callers.followed(), torch.no_grad(), self:
            yield self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation and notes the memory that is new."""
        output = run(func, args, kwargs or {})
        for tensor in output if isinstance(output, (tuple, list)) else (output,):
            if isinstance(tensor, Tensor):
                self._note(tensor, self._callers.now)
        if self.bytes > self.peak:
            self.peak, self.peak_layer, self.at_peak = self.bytes, self._callers.now, self._alive.copy()
        return output

    def largest(self) -> tuple[Kept, ...]:
        """What was alive at the peak, by the layer that made it."""
        return _largest(self.at_peak)

    def _note(self, tensor: Tensor, layer: str) -> None:
        storage = _storage(tensor)
        if storage in self._known:
            return
        self._known[storage] = True
        size = storage.nbytes()
        self.bytes += size
        self._alive[layer] += size
        weakref.finalize(storage, self._gone, layer, size)

    def _gone(self, layer: str, size: int) -> None:
        self.bytes -= size
        self._alive[layer] -= size


def _storage(tensor: Tensor) -> Any:
    return tensor.untyped_storage()


def _largest(by_layer: Counter[str]) -> tuple[Kept, ...]:
    return tuple(Kept(layer, size) for layer, size in by_layer.most_common(_LARGEST) if size > 0)
