"""What an ATen operation is called as a layer, what it is set to, and what it costs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from torch import Tensor, nn

from toolkit.analysis.anatomy import Pair
from toolkit.analysis.fields import ACTIVATIONS
from toolkit.analysis.windows import UPSAMPLINGS, pair

KINDS = {
    "max_pool2d_with_indices": "max pool",
    "avg_pool2d": "average pool",
    "_adaptive_avg_pool2d": "adaptive average pool",
    "adaptive_max_pool2d": "adaptive max pool",
    "max_unpool2d": "unpool",
    "cat": "concat",
    "add": "add",
    "mul": "multiply",
    "roi_align": "RoI align",
    "roi_pool": "RoI max pool",
    "native_batch_norm": "batch norm",
    "_native_batch_norm_legit_no_training": "batch norm",
    "cudnn_batch_norm": "batch norm",
    "native_group_norm": "group norm",
    "native_layer_norm": "layer norm",
    "native_dropout": "dropout",
    "_softmax": "softmax",
    "addmm": "linear",
    "mm": "linear",
    "bmm": "matrix product",
    "baddbmm": "matrix product",
    "constant_pad_nd": "pad",
    "reflection_pad2d": "pad",
    "replication_pad2d": "pad",
    "slice": "crop",
    "mean": "global average pool",
    "amax": "global max pool",
    "pixel_shuffle": "pixel shuffle",
    "pixel_unshuffle": "pixel unshuffle",
    **dict.fromkeys(UPSAMPLINGS, "upsample"),
    **dict.fromkeys(ACTIVATIONS, "activation"),
}
"""Operations that are layers of their own where no module stands for them."""

JOINING = frozenset({"add", "concat", "multiply"})
"""Layers only when at least two of their inputs depend on the image."""

_MODULE_KINDS: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.LocalResponseNorm, "LRN"),
    (nn.modules.dropout._DropoutNd, "dropout"),
    (nn.modules.batchnorm._BatchNorm, "batch norm"),
    (nn.GroupNorm, "group norm"),
    (nn.LayerNorm, "layer norm"),
)
_CLASS_KINDS = {
    "FrozenBatchNorm2d": "batch norm",
    "MaxUnpool": "unpool",
    "L2Pool2d": "L2 pool",
    "StochasticPool2d": "stochastic pool",
    "Maxout": "maxout",
}
_PRINCIPAL = (
    "transposed conv", "conv", "linear", "attention", "max pool", "average pool", "adaptive average pool", "adaptive max pool",
    "batch norm", "group norm", "layer norm", "upsample", "unpool", "activation", "softmax", "pad", "concat", "add",
)  # fmt: skip


class Operation(NamedTuple):
    """One operation that was met.

    Args:
        kind: what it is called as a layer, "" for none.
        kernel: (height, width) of its window in cells, or None.
        stride: (height, width) in input cells, or None.
        padding: (height, width) in input cells, or None.
        dilation: (height, width) in input cells, or None.
        settings: what else its arithmetic needs, by name.
        macs: multiply-adds of the whole batch it was given.
    """

    kind: str
    kernel: Pair | None = None
    stride: Pair | None = None
    padding: Pair | None = None
    dilation: Pair | None = None
    settings: dict[str, int | float | str | bool] = {}  # noqa: RUF012 (never changed)
    macs: int = 0


def kind_of_module(module: nn.Module, met: list[Operation]) -> str:
    """What a module without children is called: by its class where that says it, else by what it does."""
    for cls, kind in _MODULE_KINDS:
        if isinstance(module, cls):
            return kind
    name = type(module).__name__
    if name in _CLASS_KINDS:
        return _CLASS_KINDS[name]
    kinds = [operation.kind for operation in met]
    return next((kind for kind in _PRINCIPAL if kind in kinds), name)


def operation_of(name: str, args: tuple[Any, ...], output: Tensor) -> Operation:
    """Reads an operation's arguments.

    Args:
        name: name of the ATen operation, without overload.
        args: arguments of the operation by position.
        output: the tensor that came out of it.
    """
    if name in ("convolution", "_convolution"):
        return _convolution(args, output)
    if name in ("addmm", "mm", "bmm", "baddbmm"):
        factors = [value for value in args if isinstance(value, Tensor)][-2:]
        return Operation(KINDS[name], macs=factors[0].numel() * factors[1].shape[-1])
    if name.startswith("_scaled_dot_product"):
        query, key, value = args[:3]
        macs = query.numel() * key.shape[-2] + math.prod(query.shape[:-1]) * key.shape[-2] * value.shape[-1]
        return Operation("attention", macs=macs)
    if name in ("max_pool2d_with_indices", "avg_pool2d"):
        return _pooling(name, args)
    return _other(name, args, output)


def _convolution(args: tuple[Any, ...], output: Tensor) -> Operation:
    image, weight, _, stride, padding, dilation, transposed, output_padding, groups = args[:9]
    cells = image if transposed else output
    macs = weight.numel() * cells.shape[0] * math.prod(cells.shape[2:])
    settings: dict[str, int | float | str | bool] = {"groups": groups} if groups > 1 else {}
    if transposed and any(output_padding):
        settings["output_padding"] = max(output_padding)
    kernel = _both(list(weight.shape[2:]))
    kind = "transposed conv" if transposed else "conv"
    return Operation(kind, kernel, _both(stride), _both(padding), _both(dilation), settings, macs)


def _pooling(name: str, args: tuple[Any, ...]) -> Operation:
    maximum = name == "max_pool2d_with_indices"
    stride = (args[2] if len(args) > 2 else None) or args[1]
    padding = args[3] if len(args) > 3 else 0
    dilation = (args[4] if len(args) > 4 else 1) if maximum else 1
    place = 5 if maximum else 4
    ceil = bool(args[place]) if len(args) > place else False
    settings: dict[str, int | float | str | bool] = {"ceil_mode": ceil}
    return Operation(KINDS[name], _both(args[1]), _both(stride), _both(padding, 0), _both(dilation), settings)


def _other(name: str, args: tuple[Any, ...], output: Tensor) -> Operation:
    if name in UPSAMPLINGS:
        aligned = any(value is True for value in args)
        return Operation("upsample", settings={"mode": UPSAMPLINGS[name] + (", corners aligned" if aligned else "")})
    name = name.rstrip("_") if name.rstrip("_") in KINDS else name
    if name in ACTIVATIONS:
        return Operation("activation", settings={"function": name.strip("_")})
    if name == "constant_pad_nd" and all(value <= 0 for value in args[1]):
        return Operation("crop")
    if name == "slice" and len(args) > 4 and args[4] > 1:
        step = int(args[4])
        return Operation("subsample", (1, 1), (step, step), (0, 0), (1, 1))
    return Operation(KINDS.get(name, ""))


def _both(value: Any, default: int = 1) -> Pair:
    """(height, width) of an argument that may be one number or one a dimension."""
    return pair(value, -2, default), pair(value, -1, default)
