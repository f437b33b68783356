"""How much memory a model's activations take, measured while it runs, on the meta device or a real one.

Training: the storages that autograd keeps for backward (`saved_tensors_hooks`), each counted once however often it is
kept. Inference: the storages that are alive at one moment of a pass without gradients, at their worst. The images are
counted; parameters and buffers, which are there anyway, are not. Nor are gradients and optimizer states (once, and once
or twice the trained parameters), what an operation uses while it runs (cuDNN's workspace, columns of patches), what only
the result holds, and what an allocator keeps in reserve. On the meta device nothing is allocated and the bytes are the
same: storages have sizes there, too. (Where the CPU has kernels of its own, index pooling, its passes need a little less.)
"""

from __future__ import annotations

import copy
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.analysis.anatomy import Kept
from toolkit.analysis.operations import KINDS
from toolkit.layers.row_bands import in_blocks

M = TypeVar("M", bound=nn.Module)


class MemoryUse(NamedTuple):
    """Activations at one moment.

    Args:
        bytes: bytes of all storages together, each counted once.
        layer: the one that ran when most was alive, "" where that is no question.
        by_layer: bytes of the layers whose results they are, the most first; "images" and "loss" are no layers.
    """

    bytes: int
    layer: str
    by_layer: tuple[Kept, ...]


class _Maker(NamedTuple):
    """Who made a storage: a module, or an operation that a module with children did itself, and which of these it was."""

    path: str
    operation: str = ""
    number: int = 0


@dataclass
class _Storage:
    bytes: int
    maker: _Maker
    tensors: int = 0


def without_numbers(model: M) -> M:
    """A copy on the meta device: shapes and types of all parameters and buffers, no numbers; the model stays as it is."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        held = {**module._parameters, **module._buffers, **vars(module)}
        for tensor in held.values():
            if isinstance(tensor, nn.Parameter):
                memo[id(tensor)] = nn.Parameter(torch.empty_like(tensor, device="meta"), tensor.requires_grad)
            elif isinstance(tensor, Tensor):
                memo[id(tensor)] = torch.empty_like(tensor, device="meta")
    return copy.deepcopy(model, memo)


def kept_for_backward(model: nn.Module, images: Tensor, work: Callable[[Tensor], Any]) -> MemoryUse:
    """What `work(images)`, a pass with a graph, keeps for backward.

    Args:
        model: whose layers are named; its parameters and buffers are not counted.
        images: (N, C, H, W), on the meta device or a real one; they are counted.
        work: does the pass and returns what holds the graph.
    """
    memory = _Memory(model, images)
    kept: dict[int, tuple[Tensor, _Maker]] = {}

    def pack(tensor: Tensor) -> Tensor:
        key = _key(tensor)
        if key not in memory.owned and key not in kept:
            made = memory.alive.get(key)
            # The tensor is held, so that its storage's place is not given to another.
            kept[key] = (tensor.detach(), memory.running if made is None else made.maker)
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved)
    with torch.enable_grad(), memory.watching(model), hooks:
        result = work(images)
    parts = [(maker, tensor.untyped_storage().nbytes()) for tensor, maker in kept.values()]
    del result
    return MemoryUse(sum(size for _, size in parts), "", memory.by_layer(parts))


def most_alive(model: nn.Module, images: Tensor, work: Callable[[Tensor], Any], *, copies: bool = False) -> MemoryUse:
    """The most that is alive at one moment of `work(images)`, without gradients.

    Args:
        model: whose layers are named; its parameters and buffers are not counted.
        images: (N, C, H, W), on the meta device or a real one; they are counted.
        work: does the pass; what it returns is counted while it lives.
        copies: whether what a convolution reads and makes counts twice while it runs, as on a CPU, where oneDNN brings
            it into an order of its own.
    """
    memory = _Memory(model, images, copies)
    with torch.no_grad(), memory.watching(model):
        work(images)
    return MemoryUse(memory.most, memory.name(memory.at_most), memory.by_layer(memory.alive_then))


class _Memory(TorchDispatchMode):
    """The storages that are alive, and which layer made each."""

    def __init__(self, model: nn.Module, images: Tensor, copies: bool = False) -> None:
        super().__init__()
        self.copies = copies
        self.owned = {_key(tensor) for tensor in (*model.parameters(), *model.buffers())}
        self.alive: dict[int, _Storage] = {}
        self.running = self.at_most = _Maker("")
        self.most = 0
        self.alive_then: list[tuple[_Maker, int]] = []
        self._bytes = 0
        self._path = [""]
        self._met = False
        """Whether a part of the model has run: what is done outside of all before is normalisation, after it the loss."""
        self._leaves = {path for path, module in model.named_modules() if next(module.children(), None) is None}
        self._calls: Counter[tuple[str, str]] = Counter()
        self._last: dict[str, _Maker] = {}
        self._note(images, _Maker("images"))

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Watches the passes inside the block."""
        handles = []
        for path, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(lambda *_, path=path: self._enter(path)))
            handles.append(module.register_forward_hook(lambda *_: self._leave(), always_call=True))
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, path: str) -> None:
        self._path.append(path)
        self._met = self._met or bool(path)

    def _leave(self) -> None:
        self._path.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation and notes the memory that is new."""
        output = func(*args, **(kwargs or {}))
        name = func._schema.name.split("::")[-1].rstrip("_")
        tensors = [t for t in (output if isinstance(output, (tuple, list)) else (output,)) if isinstance(t, Tensor)]
        if name == "native_batch_norm" and not args[5]:
            tensors = tensors[:1]  # statistics of the batch, which real devices leave empty outside training
        self.running = self._maker(name, bool(tensors) and tensors[0].is_floating_point())
        for tensor in tensors:
            self._note(tensor, self.running)
        if self.copies and name == "convolution":
            self._most(self.running, sum(_in_blocks(tensor) for tensor in (args[0], tensors[0])))
        return output

    def _maker(self, operation: str, numbers: bool) -> _Maker:
        """The layer that is running. What is no layer itself belongs to the last one of the same module."""
        path = self._path[-1]
        if path in self._leaves:
            return _Maker(path)
        if not path:
            return _Maker("images" if not self._met else "loss")
        if operation not in KINDS or not numbers:
            return self._last.get(path, _Maker(path, operation))
        label = KINDS[operation].replace(" ", "_")
        self._calls[path, label] += 1
        self._last[path] = _Maker(path, label, self._calls[path, label])
        return self._last[path]

    def _note(self, tensor: Tensor, maker: _Maker) -> None:
        key = _key(tensor)
        if key in self.owned:
            return
        storage = self.alive.get(key)
        if storage is None:
            storage = self.alive[key] = _Storage(tensor.untyped_storage().nbytes(), maker)
            self._bytes += storage.bytes
        storage.tensors += 1
        weakref.finalize(tensor, self._drop, key).atexit = False
        self._most(maker)

    def _most(self, maker: _Maker, more: int = 0) -> None:
        """Notes what is alive now, and `more` bytes beside it, where it is the most so far."""
        if self._bytes + more > self.most:
            self.most, self.at_most = self._bytes + more, maker
            self.alive_then = [(each.maker, each.bytes) for each in self.alive.values()]

    def _drop(self, key: int) -> None:
        storage = self.alive[key]
        storage.tensors -= 1
        if not storage.tensors:
            self._bytes -= storage.bytes
            del self.alive[key]

    def name(self, maker: _Maker) -> str:
        """The layer's name as the rows of an anatomy spell it."""
        alone = self._calls[maker.path, maker.operation] <= 1
        label = maker.operation + ("" if alone or not maker.number else str(maker.number))
        return ".".join(filter(None, (maker.path, label)))

    def by_layer(self, parts: Iterable[tuple[_Maker, int]]) -> tuple[Kept, ...]:
        """The bytes of each layer, the most first."""
        sums: Counter[str] = Counter()
        for maker, size in parts:
            sums[self.name(maker)] += size
        return tuple(Kept(name, size) for name, size in sums.most_common() if size)


def _in_blocks(tensor: Tensor) -> int:
    """Bytes of a map in the order that oneDNN computes in."""
    channels = tensor.shape[1]
    return tensor.numel() // max(channels, 1) * in_blocks(channels) * tensor.element_size()


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
