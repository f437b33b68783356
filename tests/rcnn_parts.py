"""Pyramids and batches for the head `rcnn`, without a backbone or a picture."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from toolkit.contracts import FeaturePyramid, PyramidSpec
from toolkit.heads.rcnn import RcnnHead
from toolkit.heads.roi import RoiSettings
from toolkit.samples import Batch, Boxes, Sample, collate

FPN = PyramidSpec((8,) * 5, (4, 8, 16, 32, 64))
SINGLE = PyramidSpec((8,), (16,))
SMALL = RoiSettings(hidden=16)
LOSSES = ["rpn_objectness", "rpn_boxes", "roi_classes", "roi_boxes"]


def make_pyramid(spec: PyramidSpec, size: tuple[int, int], number: int = 1, grad: bool = False) -> FeaturePyramid:
    maps = tuple(
        torch.randn(number, c, -(-size[0] // s), -(-size[1] // s), requires_grad=grad)
        for c, s in zip(spec.channels, spec.strides, strict=True)
    )
    return FeaturePyramid(maps, spec, size)


def make_batch(
    sizes: list[tuple[int, int]], boxes: list[Boxes], originals: list[tuple[int, int]] | None = None
) -> Batch:
    samples = [
        Sample(np.zeros((*size, 3), np.uint8), f"{n}.png", n, (originals or sizes)[n], boxes=boxes[n])
        for n, size in enumerate(sizes)
    ]
    return collate(samples)


def flagged(xyxy: list[list[float]], crowd: list[bool], difficult: list[bool]) -> Boxes:
    boxes = Boxes.of(xyxy, [0] * len(xyxy))
    return boxes._replace(crowd=np.array(crowd), difficult=np.array(difficult))


NOTHING = Boxes.of([], [])


def assert_trains(head: RcnnHead, pyramid: FeaturePyramid, batch: Batch) -> dict[str, Tensor]:
    losses = head.loss(pyramid, batch)
    assert list(losses) == LOSSES
    for name, value in losses.items():
        assert value.shape == (), name
        assert value.dtype == torch.float32, name
        assert bool(value.isfinite()), name
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
    return losses
