"""Pooling and unpooling with compact indices against PyTorch's pair: time and bytes kept, side by side in one run.

    python benchmarks/pool_indices.py [--size 360 480] [--batch 1] [--rounds 15] [--threads 1] [--channels-last] [--compiled]

VGG16's five poolings, each pooled, unpooled and differentiated. The ways take turns within a round, so that a busy
machine slows all of them; ratios are medians over rounds of PyTorch's time divided by the way's (above 1: faster than
PyTorch). "processor" counts the seconds of all threads and suffers less from other people's work.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.ops import pooling_kernels
from toolkit.ops.pooling import Storage, max_pool, max_unpool

NO_COMPILER = ", no compiler"
WIDTHS = (64, 128, 256, 512, 512)
Way = Callable[[Tensor], Tensor]


def pytorchs(x: Tensor) -> Tensor:
    pooled, indices = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
    return F.max_unpool2d(pooled, indices, 2, output_size=list(x.shape[2:]))


def ours(storage: Storage) -> Way:
    return lambda x: max_unpool(*max_pool(x, ceil_mode=True, storage=storage))


def maps(size: tuple[int, int], batch: int, channels_last: bool) -> list[Tensor]:
    height, width = size
    made = []
    for channels in WIDTHS:
        x = torch.randn(batch, channels, height, width).relu_()
        made.append(x.contiguous(memory_format=torch.channels_last) if channels_last else x)
        height, width = (height + 1) // 2, (width + 1) // 2
    return [x.requires_grad_() for x in made]


def one_round(name: str, way: Way, inputs: list[Tensor], gradients: list[Tensor]) -> tuple[float, float]:
    """Seconds of wall clock and of processor."""
    if name.endswith(NO_COMPILER):
        with mock.patch.object(pooling_kernels, "_SMALLEST", 1 << 62):
            return measure(way, inputs, gradients)
    return measure(way, inputs, gradients)


def measure(way: Way, inputs: list[Tensor], gradients: list[Tensor]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    for x, gradient in zip(inputs, gradients, strict=True):
        x.grad = None
        way(x).backward(gradient)
    return time.perf_counter() - wall, time.process_time() - processor


def kept_bytes(storage: Storage, inputs: list[Tensor]) -> int:
    return sum(max_pool(x.detach(), ceil_mode=True, storage=storage)[1].codes.nbytes for x in inputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compiled", action="store_true", help="also torch.compile, whose compiling takes a minute")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    inputs = maps(tuple(arguments.size), arguments.batch, arguments.channels_last)
    gradients = [torch.randn_like(x) for x in inputs]
    ways: dict[str, tuple[Way, Storage]] = {
        "PyTorch": (pytorchs, "int64"),
        "int64": (ours("int64"), "int64"),
        "uint8, C kernel": (ours("uint8"), "uint8"),
        "packed, C kernel": (ours("packed"), "packed"),
        f"uint8{NO_COMPILER}": (ours("uint8"), "uint8"),
        f"packed{NO_COMPILER}": (ours("packed"), "packed"),
    }
    if arguments.compiled:
        ways["uint8, torch.compile"] = (torch.compile(ours("uint8"), fullgraph=True, dynamic=True), "uint8")
        ways["packed, torch.compile"] = (torch.compile(ours("packed"), fullgraph=True, dynamic=True), "packed")
    first = {name: one_round(name, way, inputs, gradients)[0] for name, (way, _) in ways.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, (way, _) in ways.items():
            times[name].append(one_round(name, way, inputs, gradients))
    print(
        f"{'way':24}{'kept bytes':>12}{'first call':>12}{'wall':>10}{'processor':>11}{'x wall':>8}{'x processor':>12}"
    )
    for name, (_, storage) in ways.items():
        wall, processor = (statistics.median(t[i] for t in times[name]) for i in (0, 1))
        ratios = [
            statistics.median(a[i] / b[i] for a, b in zip(times["PyTorch"], times[name], strict=True)) for i in (0, 1)
        ]
        print(
            f"{name:24}{kept_bytes(storage, inputs):12,}{first[name]:10.2f} s{wall * 1e3:7.1f} ms"
            f"{processor * 1e3:8.1f} ms{ratios[0]:8.2f}{ratios[1]:12.2f}"
        )


if __name__ == "__main__":
    main()
