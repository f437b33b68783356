"""Nets without numbers: parts are built on the meta device, and no first values are drawn."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, _compile
from torch._decomp import global_decomposition_table
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_DRAWS = frozenset((Tensor.normal_, Tensor.uniform_, Tensor.bernoulli_, Tensor.random_))


class _Undrawn(TorchFunctionMode):
    """Filling a tensor that has no numbers gives it back as it is, where random numbers or `torch.nn.init` would fill it."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWS or getattr(func, "__module__", "") == "torch.nn.init":
            tensor = args[0] if args else kwargs.get("tensor")
            if isinstance(tensor, Tensor) and tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Within it what is built has shapes and takes no memory: `torch.device("meta")`, and no first values are drawn."""
    leave_compiler_out()
    with torch.device("meta"), _Undrawn():
        yield


@functools.cache
def leave_compiler_out() -> None:
    """Keeps PyTorch's functions of shapes from importing its compiler, which takes longer than all they do for a net.

    At its first call each imports `torch._dynamo` to have itself marked as nothing to compile (`torch/_compile.py`),
    and keeps the marked function. In a process without the compiler the function itself serves as well.
    """
    if "torch._dynamo" in sys.modules:
        return
    waiting: list[Any] = [one for table in global_decomposition_table.values() for one in table.values()]
    modes = TorchDispatchMode.__subclasses__()
    while modes:
        mode = modes.pop()
        modes += mode.__subclasses__()
        waiting.append(mode.__torch_dispatch__)
    seen = set()
    while waiting:
        function = waiting.pop()
        if not isinstance(function, FunctionType) or function in seen:
            continue
        seen.add(function)
        around = inspect.getclosurevars(function).nonlocals
        if function.__code__.co_filename == _compile.__file__ and isinstance(around.get("fn"), FunctionType):
            around["fn"].__dynamo_disable = around["fn"]  # type: ignore[attr-defined]
        waiting += around.values()
