"""Max pooling that remembers where each maximum stood in a byte or 2 bits a window, and unpooling.

PyTorch keeps 8 bytes a window. Values, gradients, ties and NaN are PyTorch's to the bit, at every size and on every
device. What is kept for backward is the codes alone, and no result depends on the order of threads.
Source: Badrinarayanan, Kendall, Cipolla, "SegNet", section 3 ("2 bits for each 2x2 pooling window").

Three ways lead to the same bits: C kernels (CPU, `pooling_kernels.py`), PyTorch's own operators with the indices
converted (where there is no kernel), and plain tensor formulas (while compiling, and for unpooling on GPUs, where
PyTorch's operator is not deterministic). Programs that are written down have PyTorch's operators, or `by_comparing` the
formulas.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.contracts import PoolIndices
from toolkit.ops import pooling_kernels

Storage = Literal["int64", "uint8", "packed"]
"""How indices are kept: PyTorch's flat int64, a byte a window, or 2 bits a window."""


def max_pool(
    x: Tensor, kernel_size: int = 2, stride: int | None = None, ceil_mode: bool = False, storage: Storage = "uint8"
) -> tuple[Tensor, PoolIndices]:
    """Maxima (N, C, h, w) of the windows of a map, and their indices for `max_unpool`.

    Args:
        x: (N, C, H, W) float map of any memory order.
        kernel_size: side of a square window, in cells.
        stride: cells from a window to the next; None means kernel_size.
        ceil_mode: whether the last, incomplete window of an odd size counts (Caffe's rule) or is dropped.
        storage: how indices are kept; compact codes exist for 2x2 windows of stride 2, other windows keep int64.

    >>> pooled, indices = max_pool(torch.tensor([[[[1.0, 2.0], [4.0, 3.0]]]]))
    >>> pooled.item(), max_unpool(pooled, indices)[0, 0].tolist()
    (4.0, [[0.0, 0.0], [4.0, 0.0]])
    """
    stride = kernel_size if stride is None else stride
    if _tracing():  # a program that is written down stores nothing for backward
        storage = "uint8" if _compares else "int64"
    if kernel_size != 2 or stride != 2 or storage == "int64":
        pooled, codes = F.max_pool2d(x, kernel_size, stride, ceil_mode=ceil_mode, return_indices=True)
    elif x.requires_grad and torch.is_grad_enabled() and not _tracing():
        pooled, codes = _MaxPool.apply(x, ceil_mode, storage == "packed")
    else:
        pooled, codes = _pool(x, ceil_mode, storage == "packed")
    return pooled, PoolIndices(codes, (x.shape[2], x.shape[3]), (pooled.shape[2], pooled.shape[3]))


def max_unpool(x: Tensor, indices: PoolIndices) -> Tensor:
    """(N, C, h, w) -> (N, C, H, W): each value where the maximum stood, zeros elsewhere.

    Raises ValueError when x has not the shape of the pooled map.

    >>> _, indices = max_pool(torch.tensor([[[[1.0, 2.0], [4.0, 3.0]]]]))
    >>> max_unpool(torch.tensor([[[[-7.0]]]]), indices)[0, 0].tolist()
    [[0.0, 0.0], [-7.0, 0.0]]
    """
    codes = indices.codes
    fits = codes.shape[1] == x.shape[1] or (codes.dtype == torch.uint8 and codes.shape[1] == _groups(x.shape[1]))
    if not fits or (x.shape[0], *x.shape[2:]) != (codes.shape[0], *codes.shape[2:]):
        raise ValueError(f"cannot unpool {tuple(x.shape)} with indices of {tuple(codes.shape)}, {codes.dtype}")
    if codes.dtype == torch.int64:
        return _unpool_flat(x, codes, indices.size)
    if x.requires_grad and torch.is_grad_enabled() and not _tracing():
        return _Place.apply(x, codes, indices.size, False)
    return _place(x, codes, indices.size, False)


_compares = False


@contextmanager
def by_comparing() -> Iterator[None]:
    """While it is open programs are written down with comparisons, for engines that are slow with indices (OpenVINO)."""
    global _compares
    before, _compares = _compares, True
    try:
        yield
    finally:
        _compares = before


def _tracing() -> bool:
    """Whether operators are being written down for another program, which knows no autograd functions."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined]


# --------------------------------------------------------------------------- gradients: only codes are kept


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ceil_mode: bool, packed: bool) -> tuple[Tensor, Tensor]:
        pooled, codes = _pool(x, ceil_mode, packed)
        ctx.save_for_backward(codes)
        ctx.size = (x.shape[2], x.shape[3])
        ctx.mark_non_differentiable(codes)
        return pooled, codes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (codes,) = ctx.saved_tensors
        return _Place.apply(grads[0], codes, ctx.size, True), None, None


class _Place(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, codes: Tensor, size: tuple[int, int], clean: bool) -> Tensor:
        ctx.save_for_backward(codes)
        return _place(values, codes, size, clean)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (codes,) = ctx.saved_tensors
        return _Pick.apply(grads[0], codes), None, None, None


class _Pick(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor) -> Tensor:
        ctx.save_for_backward(codes)
        ctx.size = (x.shape[2], x.shape[3])
        return _pick(x, codes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (codes,) = ctx.saved_tensors
        return _Place.apply(grads[0], codes, ctx.size, False), None


# --------------------------------------------------------------------------- which way


def _pool(x: Tensor, ceil_mode: bool, packed: bool) -> tuple[Tensor, Tensor]:
    up = 1 if ceil_mode else 0
    size = (x.shape[2] + up) // 2, (x.shape[3] + up) // 2
    if torch.compiler.is_compiling() or _tracing():
        pooled, codes = _pool_formula(x, size)
    else:
        fast = pooling_kernels.pool(x, size)
        if fast is None and _in_rows(x):
            fast = _pool_rows(x, size)
        pooled, codes = fast if fast is not None else _pool_convert(x, ceil_mode)
    return pooled, _pack(codes) if packed else codes


def _place(values: Tensor, codes: Tensor, size: tuple[int, int], clean: bool) -> Tensor:
    codes = _unpack(codes, values.shape[1])
    if torch.compiler.is_compiling() or _tracing() or values.device.type != "cpu":
        return _place_formula(values, codes, size, clean)
    fast = pooling_kernels.place(values, codes, size, clean)
    if fast is not None:
        return fast
    values = values + 0.0 if clean else values
    return _place_rows(values, codes, size) if _in_rows(values) else _unpool_flat(values, _flat(codes, size[1]), size)


def _pick(x: Tensor, codes: Tensor) -> Tensor:
    codes = _unpack(codes, x.shape[1])
    if torch.compiler.is_compiling() or _tracing() or x.device.type != "cpu":
        return _pick_formula(x, codes)
    fast = pooling_kernels.pick(x, codes)
    if fast is not None:
        return fast
    if _in_rows(x):
        return _pick_rows(x, codes)
    return _like(x.flatten(2).gather(2, _flat(codes, x.shape[3]).flatten(2)).view(codes.shape), x)


# --------------------------------------------------------------------------- storage


def _groups(channels: int) -> int:
    """Channels of packed codes: channel c shares a byte with c + g, c + 2g, c + 3g for g groups."""
    return (channels + 3) // 4


def _pack(codes: Tensor) -> Tensor:
    groups = _groups(codes.shape[1])
    if not (torch.compiler.is_compiling() or _tracing()):
        fast = pooling_kernels.pack(codes, groups)
        if fast is not None:
            return fast
    packed = codes[:, :groups].clone()
    for part in range(1, 4):
        more = codes[:, part * groups : (part + 1) * groups]
        if more.shape[1] == groups:
            packed = packed | (more << 2 * part)
        elif more.shape[1]:
            packed = packed | F.pad(more << 2 * part, (0, 0, 0, 0, 0, groups - more.shape[1]))
    return packed


def _unpack(codes: Tensor, channels: int) -> Tensor:
    if codes.shape[1] == channels:
        return codes
    if not (torch.compiler.is_compiling() or _tracing()):
        fast = pooling_kernels.unpack(codes, channels)
        if fast is not None:
            return fast
    return torch.cat([codes >> 2 * part & 3 for part in range(4)], 1)[:, :channels]


# --------------------------------------------------------------------------- by PyTorch's operators


def _pool_convert(x: Tensor, ceil_mode: bool) -> tuple[Tensor, Tensor]:
    pooled, flat = F.max_pool2d(x, 2, 2, ceil_mode=ceil_mode, return_indices=True)
    width = x.shape[3]
    row = (flat >= _corners(flat.shape, width, x.device) + width).to(torch.uint8)
    column = flat.to(torch.uint8) & 1  # windows start at even indices, and so does the second row of an even width
    return pooled, row * 2 | (column ^ row if width % 2 else column)


def _corners(shape: torch.Size, width: int, device: torch.device) -> Tensor:
    """Flat index (h, w) of the first pixel of each window, for codes of a shape (..., h, w); int32 where that is enough."""
    rows, columns = shape[-2:]
    kind = torch.int32 if 2 * rows * width < 1 << 31 else torch.int64
    top = torch.arange(rows, device=device, dtype=kind)[:, None] * (2 * width)
    return top + torch.arange(columns, device=device, dtype=kind) * 2


def _flat(codes: Tensor, width: int, corners: Tensor | None = None) -> Tensor:
    """PyTorch's flat int64 indices of codes."""
    corners = _corners(codes.shape, width, codes.device) if corners is None else corners
    flat = (codes >> 1).to(corners.dtype).mul_(width - 2)  # PyTorch adds integers of one width several times faster
    return flat.add_(codes.to(corners.dtype)).add_(corners).to(torch.int64)


def _unpool_flat(x: Tensor, flat: Tensor, size: tuple[int, int]) -> Tensor:
    # PyTorch's operator is the fastest on a CPU, but knows neither compiling nor its own deterministic mode.
    plain = not (torch.compiler.is_compiling() or _tracing() or torch.are_deterministic_algorithms_enabled())
    if plain and x.device.type == "cpu":
        return torch.ops.aten.max_unpool2d(x, flat, list(size))
    zeros = x.new_zeros((x.shape[0], x.shape[1], size[0] * size[1]))
    return _like(zeros.scatter(2, flat.flatten(2), x.flatten(2)).view(x.shape[0], x.shape[1], *size), x)


def _like(result: Tensor, x: Tensor) -> Tensor:
    """The result in the memory order (NCHW or NHWC) of x."""
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return result.contiguous(memory_format=torch.channels_last)
    return result.contiguous()


# --------------------------------------------------------------------------- by PyTorch's operators, a few planes at a time

_WINDOWS = 1 << 17
"""Windows at a time: what is computed on the way stays in the processor's cache."""


def _in_rows(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.is_contiguous() and x.numel() > 0


def _planes(codes: Tensor, *maps: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """(planes, h, w) of codes and maps (N, C, ., .), so many planes as make `_WINDOWS`."""
    number = max(1, _WINDOWS // (codes.shape[2] * codes.shape[3]))
    return zip(*(tensor.flatten(0, 1).split(number) for tensor in (codes, *maps)), strict=True)


def _pool_rows(x: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
    """The maxima of whole rows, and the first pixel equal to each; None where there are NaN, which equal nothing."""
    pooled = x.new_empty((*x.shape[:2], *size))
    codes = torch.empty_like(pooled, dtype=torch.uint8)
    corners = _corners(codes.shape, x.shape[3], x.device)
    for code, pixels, most in _planes(codes, x, pooled):
        first, second, third, fourth = (each[0] for each in _four(pixels[None], *size, float("-inf")))
        best = torch.maximum(torch.maximum(first, second), torch.maximum(third, fourth))
        if best.sum().isnan():
            return None
        after = (third != best).view(torch.uint8).add_(1).mul_((second != best).view(torch.uint8)).add_(1)
        torch.mul(after, (first != best).view(torch.uint8), out=code)
        _gather(pixels, code, corners, most)  # of equals the maximum may be any: -0 instead of 0
    return pooled, codes


def _pick_rows(x: Tensor, codes: Tensor) -> Tensor:
    picked = x.new_empty(codes.shape)
    corners = _corners(codes.shape, x.shape[3], x.device)
    for code, pixels, out in _planes(codes, x, picked):
        _gather(pixels, code, corners, out)
    return picked


def _gather(pixels: Tensor, code: Tensor, corners: Tensor, out: Tensor) -> None:
    torch.gather(pixels.flatten(1), 1, _flat(code, pixels.shape[-1], corners).flatten(1), out=out.flatten(1))


def _place_rows(values: Tensor, codes: Tensor, size: tuple[int, int]) -> Tensor:
    placed = values.new_empty((*values.shape[:2], *size))
    corners = _corners(codes.shape, size[1], values.device)
    for code, value, out in _planes(codes, values, placed):
        out.zero_().flatten(1).scatter_(1, _flat(code, size[1], corners).flatten(1), value.flatten(1))
    return placed


# --------------------------------------------------------------------------- by formulas


def _four(x: Tensor, rows: int, columns: int, fill: float) -> list[Tensor]:
    """The four pixels of every window, (N, C, rows, columns) each; `fill` where a window is incomplete."""
    height, width = x.shape[2:]
    if _tracing() or height < 2 * rows or width < 2 * columns:
        x = F.pad(x, (0, 2 * columns - width, 0, 2 * rows - height), value=fill)  # also cuts, in floor mode
    return [x[:, :, y : 2 * rows : 2, z : 2 * columns : 2] for y in (0, 1) for z in (0, 1)]


def _pool_formula(x: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    best, *others = _four(x, *size, float("-inf"))
    codes = torch.zeros_like(best, dtype=torch.uint8)
    for code, value in enumerate(others, 1):
        wins = (value > best) | (value != value)  # the first of equals, the last NaN
        best = torch.where(wins, value, best)
        codes = torch.where(wins, code, codes)
    return _like(best, x), _like(codes.to(torch.uint8), x)


def _place_formula(values: Tensor, codes: Tensor, size: tuple[int, int], clean: bool) -> Tensor:
    batch, channels, rows, columns = values.shape
    # An unpooled map of floor mode is up to a pixel larger than its windows, one of ceil mode up to a pixel smaller.
    mine = torch.arange(4, dtype=torch.uint8, device=codes.device).view(2, 1, 2)
    here = codes[:, :, :, None, :, None] == mine
    spread = torch.where(here, (values + 0.0 if clean else values)[:, :, :, None, :, None], 0.0)
    full = spread.reshape(batch, channels, 2 * rows, 2 * columns)
    height, width = size
    open_sides = _tracing() and not all(type(side) is int for side in (*size, rows, columns))
    if open_sides or height != 2 * rows or width != 2 * columns:
        full = F.pad(full, (0, width - 2 * columns, 0, height - 2 * rows))
    return _like(full, values)


def _pick_formula(x: Tensor, codes: Tensor) -> Tensor:
    picked, *others = _four(x, codes.shape[2], codes.shape[3], 0.0)
    for code, value in enumerate(others, 1):
        picked = torch.where(codes == code, value, picked)
    return _like(picked, x)
