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

LARGEST_GROWTH = math.log(1000 / 16)
"""Clamp of dw and dh before exp: a 16-pixel box may grow to 1000 pixels (torchvision's and detectron2's value)."""

UNIT_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


def _wide(boxes: Tensor) -> Tensor:
    return boxes if boxes.dtype in (torch.float32, torch.float64) else boxes.float()


def _exclusive(boxes: Tensor, plus_one: bool) -> Tensor:
    """The same boxes with x2 and y2 one past the last pixel."""
    return boxes + boxes.new_tensor([0, 0, 1, 1]) if plus_one else boxes


def to_inclusive(boxes: Tensor) -> Tensor:
    """Boxes with exclusive x2, y2 written as the last pixel inside them."""
    return boxes - boxes.new_tensor([0, 0, 1, 1])


def to_exclusive(boxes: Tensor) -> Tensor:
    """Boxes with inclusive x2, y2 written with the first pixel outside them."""
    return _exclusive(boxes, plus_one=True)


def box_area(boxes: Tensor, plus_one: bool = False) -> Tensor:
    """(N,) width times height, in square pixels."""
    boxes = _exclusive(_wide(boxes), plus_one)
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def intersection(first: Tensor, second: Tensor, plus_one: bool = False) -> Tensor:
    """(N, M) area common to each pair, in square pixels."""
    first, second = _exclusive(_wide(first), plus_one), _exclusive(_wide(second), plus_one)
    right = torch.minimum(first[:, None, 2], second[None, :, 2])
    width = (right - torch.maximum(first[:, None, 0], second[None, :, 0])).clamp_(min=0)
    bottom = torch.minimum(first[:, None, 3], second[None, :, 3])
    height = (bottom - torch.maximum(first[:, None, 1], second[None, :, 1])).clamp_(min=0)
    return width.mul_(height)


def box_iou(first: Tensor, second: Tensor, plus_one: bool = False) -> Tensor:
    """(N, M) intersection over union, 0..1; 0, not NaN, for two empty boxes.

    >>> a, b = torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([[5.0, 5, 14, 14]])
    >>> [round(box_iou(a, b, plus_one).item(), 5) for plus_one in (True, False)]
    [0.14286, 0.10959]
    """
    common = intersection(first, second, plus_one)
    union = box_area(first, plus_one)[:, None] + box_area(second, plus_one)
    return common.div_(union.sub_(common).clamp_(min=torch.finfo(common.dtype).tiny))


def covered_by(boxes: Tensor, regions: Tensor, plus_one: bool = False) -> Tensor:
    """(N, M) part of each box's own area that lies in each region, 0..1 (COCO's overlap with a crowd)."""
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
    """
    centres, sides = _centres(boxes, plus_one)
    reference_centres, reference_sides = _centres(reference, plus_one)
    deltas = torch.cat(((centres - reference_centres) / reference_sides, torch.log(sides / reference_sides)), 1)
    return deltas * deltas.new_tensor(list(weights))


def decode(
    deltas: Tensor, reference: Tensor, weights: Sequence[float] = UNIT_WEIGHTS, plus_one: bool = False
) -> Tensor:
    """Boxes from deltas (N, ..., 4) and reference boxes (N, 4): the inverse of `encode`, of the shape of deltas.

    With plus_one it is the inverse but for one pixel: py-faster-rcnn writes x2 = centre + width / 2 without taking
    1 off, so decoding what was encoded returns x2 + 1 and y2 + 1. Kept, because its published weights expect it.
    """
    deltas = _wide(deltas)
    shape = (-1,) + (1,) * (deltas.dim() - 2) + (2,)
    centres, sides = (part.view(shape) for part in _centres(reference, plus_one))
    deltas = deltas / deltas.new_tensor(list(weights))
    half = deltas[..., 2:].clamp(max=LARGEST_GROWTH).exp() * sides / 2
    centres = deltas[..., :2] * sides + centres
    return torch.cat((centres - half, centres + half), -1)


def clip(boxes: Tensor, size: Sequence[int] | Tensor, plus_one: bool = False) -> Tensor:
    """Boxes (..., 4) cut to an image of (height, width): coordinates 0..W, or 0..W-1 with plus_one."""
    height, width = (float(side) - plus_one for side in size)
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack((x[..., 0], y[..., 0], x[..., 1], y[..., 1]), -1)


def scale(boxes: Tensor, height_factor: float, width_factor: float) -> Tensor:
    """Boxes (..., 4) of an image whose height and width are multiplied."""
    return boxes * boxes.new_tensor([width_factor, height_factor, width_factor, height_factor])


def at_least(boxes: Tensor, side: float, plus_one: bool = False) -> Tensor:
    """(N,) bool: boxes neither of whose sides is shorter than `side` pixels."""
    boxes = _exclusive(boxes, plus_one)
    return (boxes[:, 2:] - boxes[:, :2] >= side).all(1)


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, iou: float, plus_one: bool = False) -> Tensor:
    """Indices of boxes that survive greedy non-maximum suppression within their group, best score first.

    A box goes when its IoU with a better box of the same group is *above* `iou`. torchvision's operator does it.
    """
    from torchvision.ops import batched_nms, nms

    boxes, scores = _exclusive(_wide(boxes), plus_one), scores.float()
    if torch.compiler.is_compiling():  # batched_nms chooses its way by the number of boxes, which a graph cannot
        beyond = torch.cat((boxes.flatten(), boxes.new_zeros(1))).amax() + 1
        return nms(boxes + (groups * beyond)[:, None], scores, iou)
    return batched_nms(boxes, scores, groups, iou)
