"""A rehearsal of another device on the CPU: every tensor carries the label of the device where it would live.

The arithmetic is the CPU's own; the accelerator is called CUDA, so that what is written for CUDA is what runs. Under
`rehearsal()` a tensor is labelled where it is made: on the accelerator when a model or a batch was put there, or an
operation read such a tensor; on the CPU when it came from a factory without `device=`. An operation that reads both
raises MixedDevicesError, as a GPU would (scalars of no dimension aside), and what would make the host wait for the device
is counted: an event once for all that was recorded before it.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import sys
import traceback
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

ACCELERATOR = torch.device("cuda", 0)
CPU = torch.device("cpu")

_LABEL = "_rehearsed_device"
_FACTORY_NAMES = """arange as_tensor empty empty_strided eye from_numpy full linspace logspace ones rand randint randn randperm
range scalar_tensor tensor tril_indices triu_indices zeros"""
_FACTORIES = {getattr(torch, name) for name in _FACTORY_NAMES.split()}
_WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique", "_unique2", "unique_dim",
          "nms", "bincount", "repeat_interleave"}  # fmt: skip
"""Operations after which the host knows something of the device's numbers."""
_TAKE_DEVICE = {"_to_copy", "empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "new_zeros",
                "new_ones", "new_full", "new_empty"}  # fmt: skip
"""Operations whose result is where they are told, else where their argument is."""
_OWN_DEVICE = {"copy_", "_to_copy", "set_", "_has_compatible_shallow_copy_type"}
"""Operations that may read one device and write another."""
_ASKS_C = ("clip_grad.py", "adam.py", "adamw.py", "sgd.py")
"""Files of PyTorch that ask for the device of a tensor in C++, which knows no labels."""


class MixedDevicesError(AssertionError):
    """An operation read tensors of two devices."""


class _Ledger:
    def __init__(self) -> None:
        self.waits: collections.Counter[str] = collections.Counter()
        self.target: torch.device | None = None

        self.recorded = self.passed = 0  # events

    def wait(self, name: str) -> None:
        self.waits[f"{name} in {_place()}"] += 1
        self.passed = self.recorded


class _Event:
    """torch.cuda.Event: waiting for one that has not passed is a wait; the host then knows all that was before it."""

    def __init__(self, ledger: _Ledger) -> None:
        self.ledger, self.number = ledger, 0

    def record(self) -> None:
        self.ledger.recorded += 1
        self.number = self.ledger.recorded

    def synchronize(self) -> None:
        if self.number > self.ledger.passed:
            self.ledger.wait("an event")
            self.ledger.passed = self.number


def label(tensor: torch.Tensor) -> torch.device | None:
    """Where a tensor would live; None when nobody said."""
    return getattr(tensor, _LABEL, None)


def put(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The same tensor, labelled."""
    setattr(tensor, _LABEL, device)
    return tensor


def _place() -> str:
    """The innermost line of the package (or of the test) that is being run."""
    for frame in reversed(traceback.extract_stack(sys._getframe(2))):
        if "/toolkit/" in frame.filename:
            return f"{frame.filename.rpartition('/toolkit/')[2]}:{frame.lineno}"
    return "elsewhere"


class _Dispatch(TorchDispatchMode):
    """Sees every operation below autograd, those of the backward pass too."""

    def __init__(self, ledger: _Ledger) -> None:
        super().__init__()
        self.ledger = ledger

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket._qualified_op_name.rpartition("::")[2]
        tensors = [value for value in tree_iter((args, kwargs)) if isinstance(value, torch.Tensor)]
        labels = [label(tensor) for tensor in tensors]
        on_device = ACCELERATOR in labels
        scalars = all(tensor.ndim == 0 for tensor, where in zip(tensors, labels, strict=True) if where == CPU)
        if on_device and CPU in labels and not scalars and name not in _OWN_DEVICE:
            shapes = [(tuple(t.shape), str(where)) for t, where in zip(tensors, labels, strict=True)]
            raise MixedDevicesError(f"{name} reads two devices in {_place()}: {shapes}")
        if on_device and (name in _WAITS or _indexes_by_mask(name, tensors)):
            self.ledger.wait(name)
        result = func(*args, **kwargs)
        known = ACCELERATOR if on_device else CPU if CPU in labels else None
        where = (self.ledger.target or CPU) if not tensors else known
        if name == "copy_" and labels == [CPU, ACCELERATOR] and not (kwargs.get("non_blocking") or True in args[2:]):
            self.ledger.wait("copy to the host")
        if name in _TAKE_DEVICE and tensors:
            where = self.ledger.target or labels[0]
        if where is not None:
            for value in tree_iter(result):
                if isinstance(value, torch.Tensor) and not any(value is tensor for tensor in tensors):
                    put(value, where)
        return result


def _indexes_by_mask(name: str, tensors: list[torch.Tensor]) -> bool:
    return name in ("index", "index_put_", "index_put") and any(tensor.dtype == torch.bool for tensor in tensors[1:])


class _Functions(TorchFunctionMode):
    """Sees what Python asks for: devices of tensors, factories with and without `device=`, moves."""

    def __init__(self, ledger: _Ledger) -> None:
        super().__init__()
        self.ledger = ledger

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func == torch.Tensor.device.__get__:  # a new wrapper each time: never the same object
            return label(args[0]) or func(*args)
        if func == torch.Tensor.grad.__get__:
            gradient = func(*args)
            if gradient is not None and label(gradient) is None and label(args[0]) is not None:
                put(gradient, label(args[0]))
            return gradient
        devices = [v for v in tree_iter((args, kwargs)) if _is_device(v)]
        asked = torch.device(devices[0]) if devices else None
        if func is torch.Tensor.cpu:
            asked = CPU
        if asked == CPU and sys._getframe(1).f_code.co_filename.endswith(_ASKS_C):
            asked = ACCELERATOR
        kwargs.pop("pin_memory", None)  # which asks for a real device
        if func in (torch.Tensor.tolist, torch.Tensor.item, torch.Tensor.numpy) and label(args[0]) == ACCELERATOR:
            if func is torch.Tensor.numpy:
                raise MixedDevicesError(f"numpy() of a tensor of the accelerator in {_place()}")
            self.ledger.wait(func.__name__)
        if asked is None:
            other = next((v for v in args[1:] if isinstance(v, torch.Tensor)), None)
            if func is torch.Tensor.to and other is not None:
                asked = label(other)
        args, kwargs = tree_map(_real, args), tree_map(_real, kwargs)
        moves = func in (torch.Tensor.to, torch.Tensor.cpu) and asked is not None
        if moves and (label(args[0]) or CPU) != asked:
            if asked == CPU:
                self.ledger.wait("copy to the host")
            return self._moved(func, args, kwargs, asked)
        before, self.ledger.target = self.ledger.target, asked
        try:
            result = func(*args, **kwargs)
        finally:
            self.ledger.target = before
        if func in _FACTORIES and isinstance(result, torch.Tensor):
            source = args[0] if args and isinstance(args[0], torch.Tensor) else None
            put(result, asked or (label(source) if source is not None else None) or CPU)
        return result

    def _moved(self, func: Any, args: Any, kwargs: Any, asked: torch.device) -> torch.Tensor:
        """A copy on the other device: on the CPU `to` would hand the same tensor back."""
        result = func(*args, **kwargs)
        if result is args[0]:
            result = result.clone()
        return put(result, asked)


def _is_device(value: Any) -> bool:
    return isinstance(value, torch.device) or (isinstance(value, str) and value in ("cpu", "cuda", ACCELERATOR.type))


def _real(value: Any) -> Any:
    return CPU if isinstance(value, torch.device) and value.type == ACCELERATOR.type else value


class _Autocast(torch.autocast):
    """torch.autocast, the accelerator's being the CPU's."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(CPU.type if device_type == ACCELERATOR.type else device_type, *args, **kwargs)


@contextlib.contextmanager
def rehearsal() -> Iterator[collections.Counter[str]]:
    """Within it tensors carry labels; yields the counter of waits, by operation and line."""
    ledger = _Ledger()
    with (
        mock.patch.object(torch.cuda, "Event", functools.partial(_Event, ledger)),
        mock.patch.object(torch, "autocast", _Autocast),
        mock.patch.object(torch.cuda, "get_rng_state", return_value=torch.get_rng_state()),
        mock.patch.object(torch.cuda, "set_rng_state", return_value=None),
        _Dispatch(ledger),
        _Functions(ledger),
    ):
        yield ledger.waits


def on_accelerator(module: torch.nn.Module) -> torch.nn.Module:
    """The module with its parameters and buffers labelled, as `module.to(device)` would leave them."""
    for tensor in (*module.parameters(), *module.buffers()):
        put(tensor, ACCELERATOR)
    return module
