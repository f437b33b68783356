"""Recomputing units or blocks in backward: bytes kept and time of a training step, against the ordinary net.

    python benchmarks/recompute.py [--size 360 480] [--batch 4] [--rounds 5] [--threads 1] [--model segnet unet]

Kept: what autograd saves for the backward pass, every memory block once, without parameters and buffers (tensors that
are recomputed are not saved; the inputs they are recomputed from are). Time: forward, loss and backward; the ways take
turns within a round, and ratios are medians over rounds of a way's time by the ordinary net's. The index storage of
SegNet's poolings is part of it: int64 is PyTorch's, a byte a window the toolkit's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from toolkit.backbones.resnet import ResNet
from toolkit.backbones.vgg import Vgg
from toolkit.engine.process import keep_freed_memory
from toolkit.heads.pixel import PixelHead
from toolkit.layers.recomputed import Recompute, recompute
from toolkit.models.vision_model import VisionModel
from toolkit.necks.index_unpool import IndexUnpool
from toolkit.necks.skip import SkipNeck
from toolkit.ops.kept_bytes import kept_for_backward
from toolkit.ops.pooling import Storage
from toolkit.samples import Batch

CLASSES = 11


def segnet(storage: Storage = "uint8") -> VisionModel:
    backbone = Vgg(16, batch_norm=True, pool_indices=True, ceil_mode=True, index_storage=storage)
    neck = IndexUnpool(backbone.spec)
    head = PixelHead(neck.spec, CLASSES, kernel_size=3)
    return VisionModel(backbone, neck, head, [str(number) for number in range(CLASSES)])


def unet() -> VisionModel:
    backbone = ResNet(34)
    neck = SkipNeck(backbone.spec, to_stride=1, norm="batch")
    return VisionModel(backbone, neck, PixelHead(neck.spec, CLASSES), [str(number) for number in range(CLASSES)])


WAYS: dict[str, dict[str, tuple[Callable[[], VisionModel], Recompute]]] = {
    "segnet": {
        "ordinary": (segnet, "none"),
        "int64 indices": (lambda: segnet("int64"), "none"),
        "units": (segnet, "units"),
        "blocks": (segnet, "blocks"),
    },
    "unet": {"ordinary": (unet, "none"), "units": (unet, "units"), "blocks": (unet, "blocks")},
}


def batch_of(number: int, height: int, width: int) -> Batch:
    images = torch.randint(0, 256, (number, 3, height, width), dtype=torch.uint8)
    sizes = torch.tensor([[height, width]] * number)
    labels = torch.randint(0, CLASSES, (number, height, width), dtype=torch.uint8)
    return Batch(images, sizes, sizes, ("",) * number, labels)


def step(model: VisionModel, batch: Batch) -> tuple[float, int]:
    """Seconds, and bytes kept."""
    model.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    began = time.perf_counter()
    with kept_for_backward(model) as kept:
        loss = torch.stack(list(model.loss(batch).values())).sum()
    number = kept.bytes
    loss.backward()
    return time.perf_counter() - began, number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", nargs="+", choices=list(WAYS), default=list(WAYS))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    batch = batch_of(arguments.batch, *arguments.size)
    print(f"{'model':8}{'way':16}{'kept':>12}{'of ordinary':>13}{'step':>12}{'of ordinary':>13}")
    for name in arguments.model:
        models = {}
        for way, (make, level) in WAYS[name].items():
            torch.manual_seed(0)
            models[way] = make().train()
            recompute(models[way], level)
        kept = {way: step(model, batch)[1] for way, model in models.items()}
        times: dict[str, list[float]] = {way: [] for way in models}
        for _ in range(arguments.rounds):
            for way, model in models.items():
                times[way].append(step(model, batch)[0])
        for way in models:
            ratio = statistics.median(a / b for a, b in zip(times[way], times["ordinary"], strict=True))
            share = kept[way] / kept["ordinary"]
            seconds = statistics.median(times[way])
            print(f"{name:8}{way:16}{kept[way] / 2**20:8.0f} MiB{share:13.2f}{seconds:10.2f} s{ratio:13.2f}")


if __name__ == "__main__":
    main()
