"""Recomputing units in backward: bytes kept for it and the time of a step, against the ordinary net."""

from __future__ import annotations

import copy

import torch

from benchmarks.rows import Goal, Measured, Measurements, Row, Way, Work, measured
from toolkit.backbones.vgg import Vgg
from toolkit.heads.pixel import PixelHead
from toolkit.layers.recomputed import Recompute, recompute
from toolkit.models.vision_model import VisionModel
from toolkit.necks.index_unpool import IndexUnpool
from toolkit.ops.kept_bytes import kept_for_backward
from toolkit.samples import Batch

CLASSES = 11


def rows() -> list[Row]:
    goals = (Goal("keeping all", most=1.10), Goal("keeping all", most=0.42, of="bytes"))
    return [Row("recompute_units", "SegNet-VGG16 step, 360 × 480, recompute: units", recomputed, goals, rounds=3)]


def segnet() -> VisionModel:
    backbone = Vgg(16, batch_norm=True, pool_indices=True, ceil_mode=True, index_storage="uint8")
    neck = IndexUnpool(backbone.spec)
    head = PixelHead(neck.spec, CLASSES, kernel_size=3)
    return VisionModel(backbone, neck, head, [str(number) for number in range(CLASSES)])


def batch_of(number: int, height: int, width: int) -> Batch:
    images = torch.randint(0, 256, (number, 3, height, width), dtype=torch.uint8)
    sizes = torch.tensor([[height, width]] * number)
    labels = torch.randint(0, CLASSES, (number, height, width), dtype=torch.uint8)
    return Batch(images, sizes, sizes, ("",) * number, labels)


def recomputed(work: Work) -> Measurements:
    batch = batch_of(1, *((32, 64) if work.toy else (360, 480)))
    plain = segnet().train()
    ways = {"toolkit": step(copy.deepcopy(plain), "units", batch), "keeping all": step(plain, "none", batch)}
    return work.in_turn(ways)


def step(model: VisionModel, level: Recompute, batch: Batch) -> Way:
    """Forward, loss and backward; bytes are what autograd keeps, every block once, without parameters."""
    recompute(model, level)

    def way() -> Measured:
        model.zero_grad(set_to_none=True)
        number = 0

        def passes() -> None:
            nonlocal number
            with kept_for_backward(model) as kept:
                loss = torch.stack(list(model.loss(batch).values())).sum()
            number = kept.bytes
            loss.backward()

        taken = measured(passes)
        return Measured(taken.seconds, taken.processor, number)

    return way
