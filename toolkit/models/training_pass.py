"""A training step's forward pass up to its losses, for tensors without numbers.

What a loss keeps for backward does not depend on labels, but the losses themselves look at them (are they classes? how
many boxes match?), which the meta device cannot. These passes do the same work on the same shapes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.contracts import FeaturePyramid
from toolkit.heads.image import ImageHead
from toolkit.heads.pixel import PixelHead
from toolkit.heads.rcnn import RcnnHead
from toolkit.models.vision_model import VisionModel
from toolkit.ops.resize import upsample
from toolkit.ops.roi_pooling import MapRows


def training_pass(model: VisionModel, images: Tensor) -> Any:
    """What holds the graph of a training step: sums of losses, or of the raw outputs for other heads.

    Dense heads compare logits, upsampled as they are in training, by one cross-entropy; the image head adds its
    auxiliary classifiers; the detector computes its second stage for as many proposals as its loss looks at, and the
    first for as many anchors, not for all.
    """
    pyramid = model.pyramid(images)
    head = model.head
    if isinstance(head, PixelHead):
        return _pixels(head, pyramid)
    if isinstance(head, ImageHead):
        logits = [head(pyramid), *(head.auxiliary(pyramid) if head.auxiliary is not None else [])]
        return [_cross_entropy(each) for each in logits]
    if isinstance(head, RcnnHead):
        return _detector(head, pyramid)
    return head(pyramid)


def _pixels(head: PixelHead, pyramid: FeaturePyramid) -> Tensor:
    logits = head(pyramid)
    if head.label_sampling == "full":
        height, width = (n - 2 * head.border for n in pyramid.image_size)
        logits = upsample(logits, head.stride, (height, width), head.grid)
    return _cross_entropy(logits)


def _cross_entropy(logits: Tensor) -> Tensor:
    labels = torch.zeros((logits.shape[0], *logits.shape[2:]), dtype=torch.int64, device=logits.device)
    return F.cross_entropy(logits.float(), labels)


def _detector(head: RcnnHead, pyramid: FeaturePyramid) -> list[Tensor]:
    number, device = len(pyramid.maps[0]), pyramid.maps[0].device

    def zeros(per_image: int, *shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.zeros((number * per_image, *shape), dtype=dtype, device=device)

    first, second = head.rpn.settings.samples, head.roi.settings.samples
    table = MapRows.of(pyramid.maps)
    objectness, anchor_deltas = head.rpn.at(table, zeros(first), zeros(first))
    boxes = zeros(second, 4, dtype=torch.float32)
    class_logits, box_deltas = head.roi(pyramid.maps, boxes, zeros(second), table)
    return [
        F.binary_cross_entropy_with_logits(objectness, torch.zeros_like(objectness)),
        F.smooth_l1_loss(anchor_deltas, torch.zeros_like(anchor_deltas)),
        _cross_entropy(class_logits),
        F.smooth_l1_loss(box_deltas, torch.zeros_like(box_deltas)),
    ]
