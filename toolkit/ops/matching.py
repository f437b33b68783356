"""Which anchor or proposal answers for which object, and which of them a loss looks at.

A match is an (N,) int64 tensor: the index of an object, or `BACKGROUND`, or `BETWEEN` for boxes that count as neither.
"""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit.ops.boxes import box_iou, covered_by
from toolkit.ops.true_places import true_places

BACKGROUND = -1
BETWEEN = -2
CHUNK = 1 << 24
"""Pairs of box and object compared at a time: 64 MiB of float32, so that hundreds of objects on 270,000 anchors fit."""

CROWD_COVER = 0.5
"""A box with this part of its area in a crowd is not background. 0.5 is COCO's lowest IoU threshold, at which its
evaluation matches a detection with a crowd by the same measure."""


def match_iou(overlaps: Tensor, positive: float, negative: float, keep_best: bool) -> Tensor:
    """Matches boxes with objects by their overlaps: (N,) int64, an object's index, `BACKGROUND` or `BETWEEN`.

    A box takes the object it overlaps most if IoU >= positive; below negative it is background, else between.

    Args:
        overlaps: (G, N) IoU of each object with each box, 0..1.
        positive: IoU from which a box takes its best object, 0..1.
        negative: IoU below which a box is background, 0..1, not above `positive`.
        keep_best: whether every box that shares an object's highest IoU (ties included) takes *its own* best object as
            well, so that no object goes without a box. An object that no box touches at all stays without one.

    >>> match_iou(torch.tensor([[0.8, 0.2, 0.4], [0.1, 0.25, 0.5]]), 0.7, 0.3, keep_best=True).tolist()
    [0, -1, 1]
    """
    if not len(overlaps):
        return overlaps.new_full((overlaps.shape[1],), BACKGROUND, dtype=torch.int64)
    best, match = overlaps.max(0)
    highest = overlaps.amax(1, keepdim=True) if overlaps.shape[1] else overlaps.new_zeros(len(overlaps), 1)
    kept = ((overlaps == highest) & (highest > 0)).any(0) if keep_best else None
    return _by_threshold(best, match, kept, positive, negative)


def _by_threshold(best: Tensor, match: Tensor, kept: Tensor | None, positive: float, negative: float) -> Tensor:
    result = torch.where(best < positive, BETWEEN, match)
    result = torch.where(best < negative, BACKGROUND, result)
    return result if kept is None else torch.where(kept, match, result)


def match_boxes(
    boxes: Tensor, objects: Tensor, positive: float, negative: float, keep_best: bool = False, plus_one: bool = False
) -> Tensor:
    """`match_iou` of boxes and objects, in memory that does not grow with N * G: (N,) int64.

    Args:
        boxes: (N, 4) anchors or proposals, xyxy pixels.
        objects: (G, 4) annotated boxes, xyxy pixels.
        positive: IoU from which a box takes its best object, 0..1.
        negative: IoU below which a box is background, 0..1, not above `positive`.
        keep_best: whether the best boxes of every object take an object whatever their IoU (`match_iou`).
        plus_one: whether x2 and y2 are inclusive (`ops/boxes.py`).

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 4], [0, 0, 2, 2]])
    >>> match_boxes(boxes, torch.tensor([[0.0, 0, 10, 9]]), positive=0.7, negative=0.3).tolist()
    [0, -2, -1]
    """
    pieces = boxes.split(max(1, CHUNK // max(1, len(objects))))
    if len(pieces) == 1 or not len(objects):
        return match_iou(box_iou(objects, boxes, plus_one), positive, negative, keep_best)
    found = []
    highest = boxes.new_zeros(len(objects))
    for piece in pieces:
        overlaps = box_iou(objects, piece, plus_one)
        found.append(overlaps.max(0))
        highest = torch.maximum(highest, overlaps.amax(1))
    best, match = (torch.cat([each[part] for each in found]) for part in (0, 1))
    kept = None
    if keep_best:
        kept = torch.cat([_shares(box_iou(objects, piece, plus_one), highest) for piece in pieces])
    return _by_threshold(best, match, kept, positive, negative)


def _shares(overlaps: Tensor, highest: Tensor) -> Tensor:
    return ((overlaps == highest[:, None]) & (highest[:, None] > 0)).any(0)


def leave_out(match: Tensor, boxes: Tensor, crowd: Tensor, difficult: Tensor, iou: float, plus_one: bool) -> Tensor:
    """The match in which background boxes that show a crowd or a difficult object are between instead: (N,) int64.

    A crowd claims a box by `CROWD_COVER` of the box's own area, a difficult object by IoU >= iou.

    Args:
        match: (N,) int64, what each box was matched with (`match_boxes`).
        boxes: (N, 4) anchors or proposals, xyxy pixels.
        crowd: (C, 4) regions that hold many objects, xyxy pixels.
        difficult: (D, 4) boxes of objects that are no targets, xyxy pixels.
        iou: overlap, 0..1, from which a box shows a difficult object.
        plus_one: whether x2 and y2 are inclusive (`ops/boxes.py`).

    >>> boxes, none = torch.tensor([[0.0, 0, 4, 4], [20, 20, 24, 24]]), torch.zeros(0, 4)
    >>> leave_out(torch.tensor([-1, -1]), boxes, torch.tensor([[0.0, 0, 9, 9]]), none, 0.5, False).tolist()
    [-2, -1]
    """
    claimed = torch.zeros_like(match, dtype=torch.bool)
    for piece, mask in zip(boxes.split(CHUNK // 64), claimed.split(CHUNK // 64), strict=True):
        if len(crowd):
            mask |= (covered_by(piece, crowd, plus_one) >= CROWD_COVER).any(1)
        if len(difficult):
            mask |= (box_iou(piece, difficult, plus_one) >= iou).any(1)
    return torch.where((match == BACKGROUND) & claimed, BETWEEN, match)


def sample_balanced(
    match: Tensor, number: int, positive_fraction: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Indices of randomly chosen positive and background boxes, at most `number` together.

    Background fills what positives leave (py-faster-rcnn's `anchor_target_layer`, torchvision's
    `BalancedPositiveNegativeSampler`). Where all positives or all background boxes fit, all are taken, in order.

    Args:
        match: (N,) int64, what each box was matched with (`match_boxes`).
        number: how many boxes are chosen at most, positives and background together.
        positive_fraction: largest part of `number` that positives may take, 0..1.
        generator: source of the choice; None draws from PyTorch's global random state.

    >>> positive, background = sample_balanced(torch.tensor([0, -1, 2, -2, -1]), 4, 0.5)
    >>> positive.tolist(), background.tolist()
    ([0, 2], [1, 4])
    """
    objects, background = true_places([match >= 0, match == BACKGROUND])
    positive = _choose(objects, int(number * positive_fraction), generator)
    negative = _choose(background, number - len(positive), generator)
    return positive, negative


def _choose(candidates: Tensor, number: int, generator: torch.Generator | None) -> Tensor:
    if len(candidates) <= number:
        return candidates
    keys = torch.rand(len(candidates), device=candidates.device, generator=generator)
    return candidates[keys.topk(number, sorted=False).indices]
