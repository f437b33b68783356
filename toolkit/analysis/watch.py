"""Seeing every tensor operation of a piece of code, below PyTorch's own functions, on tensors without numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_DRAWS = frozenset({"normal", "uniform", "erfinv", "exponential", "bernoulli"})
_ARITHMETIC = frozenset(
    {
        "neg",
        "abs",
        "relu",
        "sigmoid",
        "tanh",
        "reciprocal",
        "add",
        "sub",
        "rsub",
        "mul",
        "div",
        "pow",
        "where",
        "minimum",
        "maximum",
        "floor_divide",
        "bitwise_and",
        "bitwise_or",
        "bitwise_xor",
        "masked_fill",
    }
)
_COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})


class Watch(TorchDispatchMode):
    """A dispatch mode for looking at operations, never used under `torch.compile`.

    PyTorch loads its compiler, which takes 2 seconds, at the first operation that any dispatch mode sees, to keep it
    away from the mode, and again for simple arithmetic on the meta device. Neither is needed here.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


def run(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """An operation's result; on the meta device, where shape and type say all, without PyTorch's detours.

    Random draws there leave their tensor as it is.
    """
    tensors = [value for value in args if isinstance(value, Tensor)]
    name = func._schema.name.removeprefix("aten::")
    if name == "cat":
        tensors = list(args[0])
    if not tensors or not tensors[0].is_meta or kwargs:
        return func(*args, **kwargs)
    if func._schema.is_mutable and name != "native_batch_norm":
        return tensors[0] if name.rstrip("_") in _DRAWS | _ARITHMETIC else func(*args, **kwargs)
    if name in _ARITHMETIC | _COMPARISONS:
        shape = np.broadcast_shapes(*(tuple(tensor.shape) for tensor in tensors))  # torch.broadcast_shapes loads sympy
        return torch.empty(shape, dtype=_type(name, args), device="meta")
    if name in _SHAPES and (name not in _ONE_TYPE or len({tensor.dtype for tensor in tensors}) == 1):
        return _SHAPES[name](*args)
    return func(*args, **kwargs)


def _type(name: str, args: Sequence[Any]) -> torch.dtype:
    """The type of the elements of a result, by PyTorch's rules."""
    if name in _COMPARISONS:
        return torch.bool
    values: list[Any] = [value for value in args[name == "where" :] if isinstance(value, (Tensor, int, float))]
    dtype: torch.dtype = values[0].dtype if len(values) == 1 else torch.result_type(values[0], values[1])
    whole = not dtype.is_floating_point and not dtype.is_complex
    return torch.get_default_dtype() if whole and name in ("div", "reciprocal") else dtype


# --------------------------------------------------------------------------- shapes of what else takes the detour


def _batch_norm(x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *_: Any) -> tuple[Tensor, ...]:
    if mean is not None and mean.shape[0] != x.shape[1]:
        raise RuntimeError(f"a batch norm of {mean.shape[0]} channels was given a map of {x.shape[1]}")
    kept = x.shape[1] if training else 0  # mean and deviation of the batch, for backward
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta"), x.new_empty(kept), x.new_empty(kept)


def _addmm(bias: Tensor, first: Tensor, second: Tensor, *_: Any) -> Tensor:
    if first.shape[1] != second.shape[0]:
        raise RuntimeError(f"a linear layer of {second.shape[0]} numbers was given {first.shape[1]}")
    return first.new_empty(first.shape[0], second.shape[1])


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    tensors = [tensor for tensor in tensors if tensor.shape != (0,)] or list(tensors)  # PyTorch passes over these
    shape = list(tensors[0].shape)
    others = {tuple(n for axis, n in enumerate(tensor.shape) if axis != dim % len(shape)) for tensor in tensors}
    if len(others) > 1:
        raise RuntimeError(
            f"maps of different sizes cannot be joined: {', '.join(str(tuple(t.shape)) for t in tensors)}"
        )
    shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return tensors[0].new_empty(shape)


def _resize(x: Tensor, size: Sequence[int], *_: Any) -> Tensor:
    return x.new_empty((*x.shape[:2], *size))


def _mean(x: Tensor, dims: Sequence[int] | None = None, keep: bool = False, *_: Any) -> Tensor:
    gone = {dim % x.ndim for dim in dims or range(x.ndim)}
    return x.new_empty([1 if dim in gone else n for dim, n in enumerate(x.shape) if keep or dim not in gone])


def _same(x: Tensor, *_: Any) -> Tensor:
    return x.new_empty(x.shape)


def _no_loss(x: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(()), x.new_empty(())  # the loss, and the sum of the weights, when they are averaged


def _max_pool(
    x: Tensor, kernel: Any, stride: Any = (), padding: Any = (0,), dilation: Any = (1,), ceil: bool = False
) -> tuple[Tensor, Tensor]:
    sizes = []
    for axis, n in enumerate(x.shape[-2:]):
        window, step, pad, spread = (
            values[axis] if len(values) > 1 else values[0] for values in (kernel, stride or kernel, padding, dilation)
        )
        rest = n + 2 * pad - spread * (window - 1) - 1
        size = (-(-rest // step) if ceil else rest // step) + 1
        sizes.append(size - 1 if ceil and (size - 1) * step >= n + pad else size)  # a window starts inside the map
        if size < 1:
            raise RuntimeError(f"a window of {window} is larger than a map of {n}")
    shape = (*x.shape[:-2], *sizes)
    return x.new_empty(shape), x.new_empty(shape, dtype=torch.int64)


def _convolution(
    x: Tensor,
    weight: Tensor,
    _: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    extra: Any,
    groups: int,
) -> Tensor:
    wanted = weight.shape[0] if transposed else weight.shape[1] * groups
    if x.shape[1] != wanted:
        raise RuntimeError(f"a convolution of {wanted} channels was given a map of {x.shape[1]}")
    sizes = []
    for axis, n in enumerate(x.shape[2:]):
        step, pad, spread, more = (
            values[axis] if len(values) > 1 else values[0] for values in (stride, padding, dilation, extra)
        )
        reach = spread * (weight.shape[2 + axis] - 1)
        size = (n - 1) * step - 2 * pad + reach + more + 1 if transposed else (n + 2 * pad - reach - 1) // step + 1
        if size < 1:
            raise RuntimeError(f"a kernel of {reach + 1} is larger than a map of {n} with padding {pad}")
        sizes.append(size)
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    return x.new_empty((x.shape[0], channels, *sizes))


_SHAPES: dict[str, Any] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _max_pool,
    "_log_softmax": _same,
    "flip": _same,
    "empty_like": _same,
    "nll_loss_forward": _no_loss,
    "nll_loss2d_forward": _no_loss,
    "mean": _mean,
    "native_batch_norm": _batch_norm,
    "addmm": _addmm,
    "cat": _cat,
    "upsample_nearest2d": _resize,
    "upsample_bilinear2d": _resize,
}
_ONE_TYPE = frozenset({"cat", "addmm"})
"""Those that PyTorch would convert to a common type; only the simple case is taken from it."""
