"""Arithmetic on boxes: overlap, offsets between boxes, clipping, scaling, suppression.

Boxes are (N, 4) xyxy in pixels, x2 and y2 exclusive. Where a function has `plus_one`, True means the convention of
py-faster-rcnn and the VOC devkit: x2 and y2 are the last pixel *inside* the box, so that widths are x2 - x1 + 1.

All arithmetic is done in float32 or wider, whatever comes in: at 1000 pixels bfloat16 counts in steps of four.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from toolkit.ops.suppression import MANY, suppress_many

LARGEST_GROWTH = math.log(1000 / 16)
"""Clamp of dw and dh before exp: a 16-pixel box may grow to 1000 pixels (torchvision's and detectron2's value)."""

UNIT_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


def _wide(boxes: Tensor) -> Tensor:
    return boxes if boxes.dtype in (torch.float32, torch.float64) else boxes.float()


def _exclusive(boxes: Tensor, plus_one: bool) -> Tensor:
    """The same boxes with x2 and y2 one past the last pixel."""
    return boxes + boxes.new_tensor([0, 0, 1, 1]) if plus_one else boxes


def to_inclusive(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) with exclusive x2, y2 written as the last pixel inside them.

    >>> to_inclusive(torch.tensor([[0.0, 0, 16, 16]])).tolist()
    [[0.0, 0.0, 15.0, 15.0]]
    """
    return boxes - boxes.new_tensor([0, 0, 1, 1])


def to_exclusive(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) with inclusive x2, y2 written with the first pixel outside them.

    >>> to_exclusive(torch.tensor([[0.0, 0, 15, 15]])).tolist()
    [[0.0, 0.0, 16.0, 16.0]]
    """
    return _exclusive(boxes, plus_one=True)


def box_area(boxes: Tensor, plus_one: bool = False) -> Tensor:
    """Width times height of boxes (N, 4), in square pixels: (N,).

    >>> boxes = torch.tensor([[0.0, 0, 10, 4]])
    >>> box_area(boxes).item(), box_area(boxes, plus_one=True).item()
    (40.0, 55.0)
    """
    boxes = _exclusive(_wide(boxes), plus_one)
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def intersection(first: Tensor, second: Tensor, plus_one: bool = False) -> Tensor:
    """Area common to each pair of boxes, in square pixels: (N, M).

    Args:
        first: (N, 4) xyxy boxes in pixels.
        second: (M, 4) xyxy boxes in pixels.
        plus_one: whether x2 and y2 are inclusive (top of the file).

    >>> intersection(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 5, 20, 20], [30, 0, 40, 10]])).tolist()
    [[25.0, 0.0]]
    """
    first, second = _exclusive(_wide(first), plus_one), _exclusive(_wide(second), plus_one)
    right = torch.minimum(first[:, None, 2], second[None, :, 2])
    width = (right - torch.maximum(first[:, None, 0], second[None, :, 0])).clamp_(min=0)
    bottom = torch.minimum(first[:, None, 3], second[None, :, 3])
    height = (bottom - torch.maximum(first[:, None, 1], second[None, :, 1])).clamp_(min=0)
    return width.mul_(height)


def box_iou(first: Tensor, second: Tensor, plus_one: bool = False) -> Tensor:
    """Intersection over union of each pair of boxes, 0..1: (N, M); 0, not NaN, for two empty boxes.

    Args:
        first: (N, 4) xyxy boxes in pixels.
        second: (M, 4) xyxy boxes in pixels.
        plus_one: whether x2 and y2 are inclusive (top of the file).

    >>> a, b = torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([[5.0, 5, 14, 14]])
    >>> [round(box_iou(a, b, plus_one).item(), 5) for plus_one in (True, False)]
    [0.14286, 0.10959]
    """
    common = intersection(first, second, plus_one)
    union = box_area(first, plus_one)[:, None] + box_area(second, plus_one)
    return common.div_(union.sub_(common).clamp_(min=torch.finfo(common.dtype).tiny))


def covered_by(boxes: Tensor, regions: Tensor, plus_one: bool = False) -> Tensor:
    """Part of each box's own area that lies in each region, 0..1 (COCO's overlap with a crowd): (N, M).

    Args:
        boxes: (N, 4) xyxy boxes in pixels, whose areas are the denominators.
        regions: (M, 4) xyxy boxes in pixels.
        plus_one: whether x2 and y2 are inclusive (top of the file).

    >>> covered_by(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 5, 100, 100]])).item()
    0.5
    """
    area = box_area(boxes, plus_one)[:, None]
    return intersection(boxes, regions, plus_one).div_(area.clamp(min=torch.finfo(area.dtype).tiny))


def _centres(boxes: Tensor, plus_one: bool) -> tuple[Tensor, Tensor]:
    """Centres and sides, (N, 2) each. The centre of py-faster-rcnn is x1 + width / 2, half a pixel right of the middle."""
    boxes = _exclusive(_wide(boxes), plus_one)
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes[:, :2] + sides / 2, sides


def encode(boxes: Tensor, reference: Tensor, weights: Sequence[float] = UNIT_WEIGHTS, plus_one: bool = False) -> Tensor:
    """Deltas (N, 4) = (dx, dy, dw, dh) that turn reference boxes into boxes (Faster R-CNN, section 3.1.2, eq. 2).

    dx = (x - x_ref) / w_ref and dw = log(w / w_ref), of centres and sides, times weights. Boxes must have area.
    The standard deviations of py-faster-rcnn's target normalisation are weights turned over: 0.1, 0.1, 0.2, 0.2
    is 10, 10, 5, 5.

    Args:
        boxes: (N, 4) xyxy boxes in pixels to be described.
        reference: (N, 4) anchors or proposals, one for each box, in pixels.
        weights: factors of dx, dy, dw and dh; the larger, the more an offset counts in a loss.
        plus_one: whether x2 and y2 are inclusive (top of the file).

    >>> encode(torch.tensor([[5.0, 0, 15, 10]]), torch.tensor([[0.0, 0, 10, 10]])).tolist()  # half a width to the right
    [[0.5, 0.0, 0.0, 0.0]]
    """
    centres, sides = _centres(boxes, plus_one)
    reference_centres, reference_sides = _centres(reference, plus_one)
    deltas = torch.cat(((centres - reference_centres) / reference_sides, torch.log(sides / reference_sides)), 1)
    return deltas * deltas.new_tensor(list(weights))


def decode(
    deltas: Tensor, reference: Tensor, weights: Sequence[float] = UNIT_WEIGHTS, plus_one: bool = False
) -> Tensor:
    """Boxes from deltas and reference boxes: the inverse of `encode`, of the shape of `deltas`.

    With plus_one it is the inverse but for one pixel: py-faster-rcnn writes x2 = centre + width / 2 without taking
    1 off, so decoding what was encoded returns x2 + 1 and y2 + 1. Kept, because its published weights expect it.

    Args:
        deltas: (N, ..., 4) offsets dx, dy, dw, dh; dw and dh are clamped at `LARGEST_GROWTH`.
        reference: (N, 4) anchors or proposals they start from, in pixels.
        weights: factors that `encode` was given; offsets are divided by them.
        plus_one: whether x2 and y2 of `reference` are inclusive (top of the file).

    >>> decode(torch.tensor([[0.5, 0.0, 0.0, 0.0]]), torch.tensor([[0.0, 0, 10, 10]])).tolist()
    [[5.0, 0.0, 15.0, 10.0]]
    """
    deltas = _wide(deltas)
    shape = (-1,) + (1,) * (deltas.dim() - 2) + (2,)
    centres, sides = (part.view(shape) for part in _centres(reference, plus_one))
    deltas = deltas / deltas.new_tensor(list(weights))
    half = deltas[..., 2:].clamp(max=LARGEST_GROWTH).exp() * sides / 2
    centres = deltas[..., :2] * sides + centres
    return torch.cat((centres - half, centres + half), -1)


def clip(boxes: Tensor, size: Sequence[int] | Tensor, plus_one: bool = False) -> Tensor:
    """Boxes (..., 4) cut to an image: coordinates 0..W and 0..H, or 0..W-1 and 0..H-1 with plus_one.

    Args:
        boxes: (..., 4) xyxy boxes in pixels of the image.
        size: (height, width) of the image in pixels.
        plus_one: whether x2 and y2 are inclusive (top of the file).

    >>> clip(torch.tensor([[-5.0, 2, 30, 8]]), (10, 20)).tolist()
    [[0.0, 2.0, 20.0, 8.0]]
    """
    # Sizes stay what they are (symbols, while a model is exported): as floats they would be frozen into the program.
    height, width = (side - plus_one for side in size)
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack((x[..., 0], y[..., 0], x[..., 1], y[..., 1]), -1)


def scale(boxes: Tensor, height_factor: float, width_factor: float) -> Tensor:
    """Boxes of an image whose height and width are multiplied.

    Args:
        boxes: (..., 4) xyxy boxes in pixels of the old image.
        height_factor: new height divided by old height.
        width_factor: new width divided by old width.

    >>> scale(torch.tensor([[1.0, 2, 3, 4]]), height_factor=10, width_factor=2).tolist()
    [[2.0, 20.0, 6.0, 40.0]]
    """
    return boxes * boxes.new_tensor([width_factor, height_factor, width_factor, height_factor])


def at_least(boxes: Tensor, side: float, plus_one: bool = False) -> Tensor:
    """Which boxes have no side shorter than a length: (N,) bool.

    Args:
        boxes: (N, 4) xyxy boxes in pixels.
        side: shortest side that is still long enough, in pixels.
        plus_one: whether x2 and y2 are inclusive (top of the file).

    >>> at_least(torch.tensor([[0.0, 0, 8, 8], [0, 0, 7, 100]]), 8).tolist()
    [True, False]
    """
    boxes = _exclusive(boxes, plus_one)
    return (boxes[:, 2:] - boxes[:, :2] >= side).all(1)


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, iou: float, plus_one: bool = False) -> Tensor:
    """Indices of boxes that survive greedy non-maximum suppression within their group, best score first.

    A box goes when its IoU with a better box of the same group is *above* `iou`. torchvision's operator does it; on a CPU
    thousands of boxes take a quicker way to the same answer (`ops/suppression.py`).

    Args:
        boxes: (N, 4) xyxy boxes in pixels.
        scores: (N,) float, by which boxes are ordered.
        groups: (N,) int64; boxes of different groups (classes, pyramid levels) never suppress one another.
        iou: largest overlap, 0..1, at which both of two boxes stay.
        plus_one: whether x2 and y2 are inclusive (top of the file).

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9]])
    >>> suppress(boxes, torch.tensor([0.8, 0.9, 0.7]), torch.tensor([0, 0, 1]), iou=0.5).tolist()
    [1, 2]
    """
    from torchvision.ops import batched_nms, nms

    boxes, scores = _exclusive(_wide(boxes), plus_one), scores.float()
    if torch.compiler.is_compiling():  # batched_nms chooses its way by the number of boxes, which a graph cannot
        beyond = torch.cat((boxes.flatten(), boxes.new_zeros(1))).amax() + 1
        return nms(boxes + (groups * beyond)[:, None], scores, iou)
    if len(boxes) >= MANY and boxes.device.type == "cpu" and not torch.jit.is_tracing():  # type: ignore[attr-defined]
        stay = suppress_many(boxes.detach().float().numpy(), scores.detach().numpy(), groups.numpy(), iou)
        if stay is not None:
            return torch.from_numpy(stay)
    return batched_nms(boxes, scores, groups, iou)


def voted(kept: Tensor, boxes: Tensor, scores: Tensor, groups: Tensor, iou: float, plus_one: bool = False) -> Tensor:
    """Boxes (M, 4) in the places of those that survived a suppression: means of what was found there, weighted by scores.

    Gidaris and Komodakis 2015 (arXiv 1505.01749, section 4, "bounding box voting"). Scores and order stay.

    Args:
        kept: (M,) int64 indices of the boxes that survived, as `suppress` gives them.
        boxes: (N, 4) xyxy boxes in pixels before the suppression.
        scores: (N,) float weights, above 0.
        groups: (N,) int64; boxes of different groups (classes) never share.
        iou: overlap, above 0 up to 1, from which a box of the same group shares in a survivor's place.
        plus_one: whether x2 and y2 are inclusive (top of the file).

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [40, 0, 50, 10]])
    >>> voted(torch.tensor([0, 2]), boxes, torch.tensor([0.5, 0.5, 0.4]), torch.tensor([0, 0, 0]), iou=0.5).tolist()
    [[0.0, 0.0, 10.0, 9.0], [40.0, 0.0, 50.0, 10.0]]
    """
    boxes, scores = _wide(boxes), scores.float()
    near = box_iou(boxes[kept], boxes, plus_one) >= iou
    near[torch.arange(len(kept), device=kept.device), kept] = True  # its own, if it is empty
    weights = torch.where(near & (groups[kept][:, None] == groups), scores, scores.new_zeros(()))
    with torch.autocast(boxes.device.type, enabled=False):  # in bf16 the product puts boxes a pixel elsewhere
        return (weights.to(boxes.dtype) @ boxes) / weights.sum(1, keepdim=True).to(boxes.dtype)
