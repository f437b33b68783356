"""How much memory a model's activations take, measured while it runs, on the meta device or a real one.

Training: the storages that autograd keeps for backward (`saved_tensors_hooks`), each counted once however often it is
kept; parameters and buffers are not counted, the images are. Inference: the storages that are alive at one moment of a
pass without gradients, at their worst; the images are counted, parameters and buffers are not. Both are sums of what
tensors hold. Not included: gradients and optimizer states (once, respectively once or twice the parameters), what an
operation uses while it runs (cuDNN's workspace, column buffers), and what an allocator keeps in reserve or loses.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.analysis.anatomy import Kept
from toolkit.analysis.operations import KINDS
from toolkit.analysis.watch import Watch, run

LARGEST = 10
"""Layers that are named."""


@dataclass
class _Storage:
    bytes: int
    maker: tuple[str, str]
    tensors: int = 0


@dataclass(frozen=True)
class Held:
    """bytes in all; layer: which was running when most was alive; largest: layers whose results hold most."""

    bytes: int
    layer: str
    largest: tuple[Kept, ...]


class _Makers(Watch):
    """Notes which layer made each storage, and counts the storages that are alive."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.alive: dict[int, _Storage] = {}
        self.total = self.most = 0
        self.at_most: list[tuple[tuple[str, str], int]] = []
        self.running: tuple[str, str] = ("", "")
        self._path = [""]
        self._leaves = {path for path, module in model.named_modules() if next(module.children(), None) is None}
        self._calls: Counter[tuple[str, str]] = Counter()
        self._own = {_key(tensor) for tensor in (*model.parameters(), *model.buffers())}
        self._add(images, ("images", ""))

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        handles = []
        for path, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(lambda *_, path=path: self._path.append(path)))
            handles.append(module.register_forward_hook(lambda *_: self._leave(), always_call=True))
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _leave(self) -> None:
        self._path.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = run(func, args, kwargs or {})
        path = self._path[-1]
        name = func._schema.name.split("::")[-1].rstrip("_")
        label = "" if path in self._leaves else KINDS.get(name, name).replace(" ", "_")
        if label and name in KINDS:
            self._calls[path, label] += 1
            label += str(self._calls[path, label])
        self.running = (path, label)
        for tensor in output if isinstance(output, (tuple, list)) else (output,):
            if isinstance(tensor, Tensor):
                self._add(tensor, self.running)
        return output

    def _add(self, tensor: Tensor, maker: tuple[str, str]) -> None:
        key = _key(tensor)
        if key in self._own:
            return
        storage = self.alive.get(key)
        if storage is None:
            storage = self.alive[key] = _Storage(tensor.untyped_storage().nbytes(), maker)
            self.total += storage.bytes
        storage.tensors += 1
        weakref.finalize(tensor, self._drop, key).atexit = False
        if self.total > self.most:
            self.most = self.total
            self.at_most = [(each.maker, each.bytes) for each in self.alive.values()]
            self.peak_layer = self.running

    def _drop(self, key: int) -> None:
        storage = self.alive.get(key)
        if storage is None:
            return
        storage.tensors -= 1
        if not storage.tensors:
            self.total -= storage.bytes
            del self.alive[key]

    def name(self, maker: tuple[str, str]) -> str:
        """The layer's name, spelt as the rows of an anatomy are."""
        path, label = maker
        if label.endswith("1") and self._calls.get((path, label[:-1])) == 1:
            label = label[:-1]
        return ".".join(filter(None, (path, label))) or "images"

    def largest(self, parts: list[tuple[tuple[str, str], int]]) -> tuple[Kept, ...]:
        """The layers with the most bytes."""
        sums: Counter[str] = Counter()
        for maker, size in parts:
            sums[self.name(maker)] += size
        return tuple(Kept(name, size) for name, size in sums.most_common(LARGEST))


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def kept_for_backward(model: nn.Module, images: Tensor, answer: Callable[[Tensor], Any]) -> Held:
    """What `answer(images)`, a forward pass with a graph, keeps for backward."""
    makers = _Makers(model, images)
    kept: dict[int, tuple[Tensor, tuple[str, str]]] = {}
    own = {_key(tensor) for tensor in (*model.parameters(), *model.buffers())}

    def pack(tensor: Tensor) -> Tensor:
        key = _key(tensor)
        if key not in own and key not in kept:
            made = makers.alive.get(key)
            # The tensor is held, so that its storage's place is not given to another.
            kept[key] = (tensor.detach(), made.maker if made is not None else makers.running)
        return tensor

    with torch.enable_grad(), makers.watching(model), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        result = answer(images)
    parts = [(maker, tensor.untyped_storage().nbytes()) for tensor, maker in kept.values()]
    del result
    return Held(sum(size for _, size in parts), "", makers.largest(parts))


def most_alive(model: nn.Module, images: Tensor, answer: Callable[[Tensor], Any]) -> Held:
    """The most that is alive at one moment of `answer(images)`, without gradients."""
    makers = _Makers(model, images)
    with torch.no_grad(), makers.watching(model):
        answer(images)
    return Held(makers.most, makers.name(makers.peak_layer), makers.largest(makers.at_most))
