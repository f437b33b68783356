"""Faster R-CNN from maps to detections as one program of tensors: no Python number depends on a size or a picture.

`RcnnHead.predict` works picture by picture on as many boxes as there are. Here every picture of a batch has the same
places for boxes, empty ones marked by a score below 0, so that the program takes any batch and any size. Anchors,
offsets and pooling are the same functions; the answers are `predict`'s, boxes at a limit of a score, an overlap or a
number aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from toolkit.contracts import DetectionTensors, FeaturePyramid, Suppress
from toolkit.heads.roi import DetectionSettings, Roi
from toolkit.heads.rpn import Rpn
from toolkit.ops import boxes as box_ops
from toolkit.ops.surviving import ABSENT


class Pictures(NamedTuple):
    """What is known of the pictures of a batch.

    Args:
        sizes: (N, 2) int64 height and width within the padding, in pixels.
        min_sides: (N,) float32 shortest side of a proposal, in pixels.
    """

    sizes: Tensor
    min_sides: Tensor

    def clip(self, boxes: Tensor, plus_one: bool) -> Tensor:
        """Boxes (N, M, 4) cut to their own picture."""
        return clip_to(boxes, self.sizes - int(plus_one))


def clip_to(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (N, M, 4) cut to 0..width and 0..height of their own picture, sizes (N, 2)."""
    corners = sizes.flip(1).to(boxes).repeat(1, 2)
    return torch.minimum(boxes.clamp(min=0), corners[:, None])


def long_enough(boxes: Tensor, sides: Tensor | float, plus_one: bool) -> Tensor:
    """(N, M) bool: boxes (N, M, 4) whose sides, in pixels, are at least those of their picture, (N,) or one number.

    Args:
        boxes: (N, M, 4) float xyxy, in pixels.
        sides: shortest side in pixels: (N,) float, one for each picture, or one number for all.
        plus_one: whether x2 and y2 are the last pixel of a box, which makes each side one longer.
    """
    lengths = (boxes[..., 2:] + int(plus_one)) - boxes[..., :2]
    return (lengths >= (sides[:, None, None] if isinstance(sides, Tensor) else sides)).all(-1)


def best(scores: Tensor, number: int, fill: float) -> tuple[Tensor, Tensor]:
    """The highest `number` of scores (N, M) and their places, `fill` and some place where M is smaller: (N, number).

    Args:
        scores: (N, M) float, in any order; M may be a symbol.
        number: how many of each row are wanted.
        fill: score of places that do not exist, not above any other.
    """
    if isinstance(scores.shape[1], int):
        return scores.topk(min(number, scores.shape[1]), 1)
    found, places = F.pad(scores, (0, number), value=fill).topk(number, 1)
    return found, places.clamp(max=scores.shape[1] - 1)


def rows(values: Tensor, places: Tensor) -> Tensor:
    """Rows (N, P, C) of values (N, M, C) at places (N, P)."""
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[2]))


def propose(
    rpn: Rpn, pyramid: FeaturePyramid, pictures: Pictures, limits: tuple[int, int], suppress: Suppress
) -> tuple[Tensor, Tensor]:
    """Proposals (N, P, 4), best first, and which of them exist, (N, P) bool. See `Rpn.propose`.

    Args:
        rpn: the first stage, whose settings and anchors are used.
        pyramid: the maps the anchors stand on.
        pictures: sizes of the pictures and of their proposals.
        limits: anchors a map before and boxes a picture after the suppression.
        suppress: non-maximum suppression of groups of boxes, called as `ops.surviving.surviving` is.
    """
    before, after = limits
    settings = rpn.settings.proposals
    found, scores = [], []
    for number, one in enumerate(pyramid.maps):
        logits, deltas = rpn([one])
        anchors = rpn.anchors_of(number, pyramid).expand(one.shape[0], -1, -1)
        if settings.min_side_first:
            decoded = _decoded(rpn, deltas, anchors, pictures)
            logits = logits.masked_fill(~long_enough(decoded, pictures.min_sides, rpn.plus_one), float("-inf"))
        values, places = best(logits, before, float("-inf"))
        boxes = _decoded(rpn, rows(deltas, places), rows(anchors, places), pictures)
        exists = (values > float("-inf")) & long_enough(boxes, pictures.min_sides, rpn.plus_one)
        # In the place of probabilities, which round to the same number from a logit of 17 on, stand ranks.
        rank = torch.arange(values.shape[1], 0, -1, device=values.device) / values.shape[1]
        score = torch.where(exists, rank, ABSENT)
        found.append(boxes)
        kept = suppress(boxes + _last_pixel(boxes, rpn.plus_one), score, settings.nms_iou, after)
        scores.append(torch.where(kept > ABSENT, values, float("-inf")))
    values, places = best(torch.cat(scores, 1), after, float("-inf"))
    exists = values > float("-inf")
    return torch.where(exists[..., None], rows(torch.cat(found, 1), places), 0.0), exists


def _decoded(rpn: Rpn, deltas: Tensor, anchors: Tensor, pictures: Pictures) -> Tensor:
    boxes = box_ops.decode(deltas.flatten(0, 1), anchors.flatten(0, 1), plus_one=rpn.plus_one)
    return pictures.clip(boxes.view_as(deltas), rpn.plus_one)


def _last_pixel(boxes: Tensor, plus_one: bool) -> Tensor | int:
    """What makes x2 and y2 exclusive."""
    return boxes.new_tensor([0, 0, 1, 1]) if plus_one else 0


def detect(
    roi: Roi,
    maps: Sequence[Tensor],
    proposals: tuple[Tensor, Tensor],
    pictures: Pictures,
    test: DetectionSettings,
    suppress: Suppress,
) -> DetectionTensors:
    """The second stage's detections, in the head's convention and pixels of the padded pictures. See `Roi.detect`.

    Args:
        roi: the second stage, whose settings and classes are used.
        maps: (N, C, H_i, W_i) float each, finest first.
        proposals: boxes (N, P, 4) and which of them exist, (N, P) bool.
        pictures: sizes of the pictures, to which boxes are cut.
        test: least score and side, overlap and number of what becomes a detection.
        suppress: non-maximum suppression of groups of boxes, called as `ops.surviving.surviving` is.
    """
    boxes, exists = proposals
    count, places, classes = boxes.shape[0], boxes.shape[1], roi.num_classes
    images = torch.arange(count, device=boxes.device)[:, None].expand(count, places).flatten()
    logits, deltas = roi(maps, boxes.flatten(0, 1), images)
    scores = logits.softmax(1)[:, 1:].reshape(count, places, classes)
    moved = box_ops.decode(roi.deltas_of_classes(deltas), boxes.flatten(0, 1), roi.settings.box_weights, roi.plus_one)
    moved = pictures.clip(moved.reshape(count, places * classes, 4), roi.plus_one)
    passes = long_enough(moved, test.min_side, roi.plus_one).view(count, places, classes)
    scores = torch.where(passes & exists[..., None] & (scores > test.score), scores, ABSENT)

    groups = (moved + _last_pixel(moved, roi.plus_one)).view(count, places, classes, 4).transpose(1, 2)
    kept = suppress(
        groups.reshape(count * classes, places, 4),
        scores.transpose(1, 2).reshape(count * classes, places),
        test.nms_iou,
        test.per_image,
    )
    values, which = best(kept.view(count, classes, places).transpose(1, 2).flatten(1), test.per_image, ABSENT)
    found = DetectionTensors(rows(moved, which), values, which % classes, (values > ABSENT).sum(1))
    if test.vote_iou is None:
        return found
    candidates = moved.view(count, places, classes, 4).transpose(1, 2), scores.transpose(1, 2)
    return found._replace(boxes=_voted(found, which // classes, candidates, test.vote_iou, roi.plus_one))


def _voted(
    found: DetectionTensors, places: Tensor, candidates: tuple[Tensor, Tensor], iou: float, plus_one: bool
) -> Tensor:
    """Boxes (N, D, 4) in the places of detections, as `ops.boxes.voted` makes them.

    Args:
        found: detections, `ABSENT` scores where there is none.
        places: (N, D) int64, which proposal each is of.
        candidates: boxes (N, K, P, 4) and scores (N, K, P) of each class' boxes before the suppression.
        iou: overlap from which a box of the class shares.
        plus_one: whether x2 and y2 are inclusive.
    """
    (boxes, scores), of = candidates, found.labels[..., None]
    number = boxes.shape[2]
    near = boxes.gather(1, of[..., None].expand(-1, -1, number, 4))
    own = found.boxes[:, :, None]
    common = torch.minimum(own[..., 2:], near[..., 2:]) - torch.maximum(own[..., :2], near[..., :2]) + int(plus_one)
    sides = [each[..., 2:] - each[..., :2] + int(plus_one) for each in (own, near)]
    shared, first, second = (each[..., 0] * each[..., 1] for each in (common.clamp(min=0), *sides))
    shares = shared / (first + second - shared).clamp(min=torch.finfo(shared.dtype).tiny) >= iou
    shares = shares | (torch.arange(number, device=boxes.device) == places[..., None])  # its own, if it is empty
    weights = torch.where(shares, scores.gather(1, of.expand(-1, -1, number)).clamp(min=0), 0.0)
    total = weights.sum(2, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    return (weights[..., None] * near).sum(2) / total


def with_nothing_behind(found: DetectionTensors) -> DetectionTensors:
    """The same with no box, score and label where there is no detection, as `DetectionTensors` promises."""
    exists = found.scores > ABSENT
    return DetectionTensors(
        torch.where(exists[..., None], found.boxes, 0.0),
        torch.where(exists, found.scores, 0.0),
        torch.where(exists, found.labels, -1),
        exists.sum(1),
    )
