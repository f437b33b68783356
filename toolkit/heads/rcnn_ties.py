"""What Faster R-CNN might answer if scores and overlaps were rounded otherwise: which boxes lie at a limit.

Two programs of one net differ by some 1e-6. Where a score, an overlap or a rank lies nearer to its limit than that, one of
them has a box that the other lacks, and neither is wrong. Such boxes are found by deciding again, several times, with
everything that decides moved a little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from toolkit.contracts import FeaturePyramid
from toolkit.heads.roi import DetectionSettings, Roi
from toolkit.heads.rpn import Rpn
from toolkit.ops import boxes as box_ops
from toolkit.samples import Batch, Detections, Prediction

_DRAWS = 32
"""Answers that are tried. Two scores that stand too near change places in a quarter of them: all but 1 in 10,000 do in one."""


class Stages(NamedTuple):
    """What decides.

    Args:
        rpn: the first stage, which proposes boxes.
        roi: the second stage, which says class and place of each.
        test: which of its boxes become detections.
        min_side: shortest side of a proposal of the image, in pixels.
    """

    rpn: Rpn
    roi: Roi
    test: DetectionSettings
    min_side: float


def in_file(
    found: tuple[Tensor, Tensor, Tensor], size: Sequence[int], original: Sequence[int], plus_one: bool
) -> Detections:
    """Boxes (D, 4), scores (D,) and labels (D,) of an image as detections in its file's pixels, on the CPU.

    Args:
        found: what the second stage gives, in its convention and in pixels of the padded image.
        size: (height, width) of the image within the padding, in pixels.
        original: (height, width) of the image on disk, in pixels.
        plus_one: whether x2 and y2 are inclusive (`ops/boxes.py`).
    """
    boxes, scores, labels = found
    boxes = box_ops.to_exclusive(boxes) if plus_one else boxes
    boxes = box_ops.clip(box_ops.scale(boxes, original[0] / size[0], original[1] / size[1]), original)
    return Detections(boxes.cpu(), scores.cpu(), labels.cpu())


@torch.no_grad()
def near_limits(stages: Stages, pyramid: FeaturePyramid, batch: Batch, within: float) -> Iterator[Prediction]:
    """See `Head.near_limits`: every score is moved by half of `within` up or down, and so is every limit.

    Scores of the first stage are moved as logits, those of the second as probabilities.

    Args:
        stages: both stages of the detector.
        pyramid: the maps of the padded image.
        batch: the image alone, with its size and that of its file.
        within: how far from its limit a decision may fall otherwise, 0..1.
    """
    generator = torch.Generator().manual_seed(0)

    def moved(values: Tensor) -> Tensor:
        signs = torch.randint(0, 2, values.shape, generator=generator).to(values) * 2 - 1
        return values + signs * within / 2

    def limit(value: float) -> float:
        return float(moved(torch.tensor(value, dtype=torch.float64)).clamp(0, 1))

    (size,), (original,) = batch.sizes.tolist(), batch.original_sizes.tolist()
    rpn, roi, own = stages.rpn, stages.roi, stages.test
    proposing = rpn.settings.proposals
    objectness, anchor_deltas = rpn(pyramid.maps)
    limits = proposing.before_test, proposing.after_test
    for _ in range(_DRAWS):
        nms_iou = limit(proposing.nms_iou)
        scores = moved(objectness)
        (proposals,) = rpn.propose(pyramid, scores, anchor_deltas, [size], [stages.min_side], limits, nms_iou)
        logits, deltas = roi(pyramid.maps, proposals, proposals.new_zeros(len(proposals), dtype=torch.int64))
        vote = None if own.vote_iou is None else limit(own.vote_iou)
        test = replace(own, score=limit(own.score), nms_iou=limit(own.nms_iou), vote_iou=vote)
        scores = moved(logits.softmax(1)[:, 1:])
        yield in_file(roi.decided(scores, deltas, proposals, size, test), size, original, rpn.plus_one)
