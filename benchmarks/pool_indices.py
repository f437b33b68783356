"""Pooling and unpooling with compact indices against PyTorch's pair: VGG16's five poolings, forward and backward."""

from __future__ import annotations

import contextlib
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.rows import Goal, Measurements, Row, Way, Work
from toolkit.ops import pooling_kernels
from toolkit.ops.pooling import Storage, max_pool, max_unpool

WIDTHS = (64, 128, 256, 512, 512)


def rows() -> list[Row]:
    title = "pool + unpool of VGG16, 360 × 480"
    return [
        Row("pool_bytes", f"{title}, byte indices", lambda work: pools(work, "uint8"), (Goal("PyTorch", least=1.8),)),
        Row("pool_packed", f"{title}, 2-bit indices", lambda work: pools(work, "packed"), (Goal("PyTorch", least=1.8),)),
        Row("pool_uncompiled", f"{title}, bytes, no compiler", lambda work: pools(work, "uint8", compiler=False),
            (Goal("PyTorch", least=1.0),)),
    ]  # fmt: skip


def maps(size: tuple[int, int]) -> list[Tensor]:
    """What the five poolings of VGG16 get."""
    (height, width), made = size, []
    for channels in WIDTHS:
        made.append(torch.randn(1, channels, height, width).relu_().requires_grad_())
        height, width = (height + 1) // 2, (width + 1) // 2
    return made


def pools(work: Work, storage: Storage, *, compiler: bool = True) -> Measurements:
    inputs = maps((32, 48) if work.toy else (360, 480))
    gradients = [torch.randn_like(x) for x in inputs]

    def ours(x: Tensor) -> Tensor:
        return max_unpool(*max_pool(x, ceil_mode=True, storage=storage))

    def pytorchs(x: Tensor) -> Tensor:
        pooled, indices = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
        return F.max_unpool2d(pooled, indices, 2, output_size=list(x.shape[2:]))

    def way(function: Way) -> Way:
        def run() -> list[Tensor]:
            for x, gradient in zip(inputs, gradients, strict=True):
                x.grad = None
                function(x).backward(gradient)  # type: ignore[call-arg,attr-defined]
            return [x.grad for x in inputs if x.grad is not None]

        return run

    off = mock.patch.object(pooling_kernels, "_SMALLEST", 1 << 62)  # no map is large enough for the C kernel
    with contextlib.nullcontext() if compiler else off:
        return work.in_turn({"toolkit": way(ours), "PyTorch": way(pytorchs)}, same_gradients)


def same_gradients(returned: dict[str, list[Tensor]]) -> None:
    one, other = returned.values()
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True)), "the gradients differ"
