"""The second stage: what each proposal shows, and how its box should move. The only file that knows a background class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toolkit.bounds import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Probability
from toolkit.contracts import PyramidSpec
from toolkit.errors import PartsError, Problem
from toolkit.heads.rpn import Objects
from toolkit.ops import boxes as box_ops
from toolkit.ops.matching import BACKGROUND, leave_out, match_boxes, sample_balanced
from toolkit.ops.roi_pooling import MapRows, PoolKind, align_rows, pool_boxes
from toolkit.ops.true_places import true_places

_BACKGROUND_CLASS = 0
"""Output of the classifier that means "no object": the first, as in py-faster-rcnn and torchvision. Class k is k + 1."""


@dataclass(frozen=True)
class PoolSettings:
    """How a proposal is cut out. Defaults: torchvision's `fasterrcnn_resnet50_fpn`.

    Args:
        kind: "align" (RoIAlign), "align_half_pixel" (the same with aligned=True, detectron2's), "max" (Fast R-CNN's).
        size: cells along each side of what is cut out.
        sampling: samples along each side of a cell, 0: as many as fit (detectron2).
        max_stride: coarser maps serve the proposals only (FPN, section 4.2: P6 is not used for the second stage).
    """

    kind: PoolKind = "align"
    size: PositiveInt = 7
    sampling: NonNegativeInt = 2
    max_stride: PositiveInt = 32


@dataclass(frozen=True)
class RoiSettings:
    """The second stage and its training. Defaults: torchvision's `fasterrcnn_resnet50_fpn`.

    Args:
        pooling: how a proposal is cut out of the maps.
        hidden: width of the two fully connected layers.
        dropout: probability, 0..1, that a value is dropped after each of the two layers.
        boxes: boxes that are learnt: one a class and one, unused, for background (py-faster-rcnn, torchvision); one a
            class (detectron2); one for all.
        samples: proposals of an image that the loss looks at.
        positive_fraction: largest part of them, 0..1, that are objects.
        positive_iou: overlap, 0..1, from which a proposal is an object's; all below is background.
        box_weights: factors of dx, dy, dw, dh; 10, 10, 5, 5 is py-faster-rcnn's target deviation 0.1, 0.1, 0.2, 0.2.
        box_beta: offset at which smooth L1 turns from square to straight; 1/9 is py-faster-rcnn's sigma 3, 0 is L1.
        label_smoothing: share of the target, 0..1, that is spread evenly over all classes and background (Szegedy et al. 2016,
            arXiv 1512.00567, section 7); 0 in all three official codes.
    """

    pooling: PoolSettings = PoolSettings()
    hidden: PositiveInt = 1024
    dropout: Probability = 0.0
    boxes: Literal["class_and_background", "class", "agnostic"] = "class_and_background"
    samples: PositiveInt = 512
    positive_fraction: Probability = 0.25
    positive_iou: Probability = 0.5
    box_weights: tuple[PositiveFloat, PositiveFloat, PositiveFloat, PositiveFloat] = (10.0, 10.0, 5.0, 5.0)
    box_beta: NonNegativeFloat = 1 / 9
    label_smoothing: Probability = 0.0


@dataclass(frozen=True)
class DetectionSettings:
    """From scores to detections. Defaults: torchvision's.

    Args:
        score: probability, 0..1, above which a box is a detection.
        nms_iou: overlap, 0..1, above which the worse of two boxes of a class goes.
        per_image: largest number of detections of an image, best first.
        min_side: shortest side of a detection, in pixels of the image as the net sees it.
        vote_iou: overlap, 0..1, from which boxes of a class that the suppression drops share in the place of the one that
            stays, by their scores (Gidaris and Komodakis 2015, arXiv 1505.01749); null leaves every box where it is.
    """

    score: Probability = 0.05
    nms_iou: Probability = 0.5
    per_image: PositiveInt = 100
    min_side: NonNegativeFloat = 1e-2
    vote_iou: Probability | None = None


class Roi(nn.Module):
    """Pools each proposal, and two fully connected layers and two linear ones say class and box.

    Args:
        spec: what the backbone or neck produces.
        num_classes: number of classes K, background not counted.
        settings: pooling, layers, and how proposals are sampled and trained.
        plus_one: whether x2 and y2 are inclusive (`ops/boxes.py`).
    """

    def __init__(self, spec: PyramidSpec, num_classes: int, settings: RoiSettings, plus_one: bool = False) -> None:
        super().__init__()
        self.settings = settings
        self.plus_one = plus_one
        self.num_classes = num_classes
        strides = tuple(stride for stride in spec.strides if stride <= settings.pooling.max_stride)
        # Of several maps of one stride alone the first serves the proposals, as in torchvision's MultiScaleRoIAlign.
        self.strides = strides[:1] if len(set(strides)) == 1 else strides
        self._check_strides(spec)
        self.fc6 = nn.Linear(spec.channels[0] * settings.pooling.size**2, settings.hidden)
        self.fc7 = nn.Linear(settings.hidden, settings.hidden)
        self.dropout = nn.Dropout(settings.dropout)
        self.classes = nn.Linear(settings.hidden, num_classes + 1)
        per_box = {"class_and_background": num_classes + 1, "class": num_classes, "agnostic": 1}
        self.deltas = nn.Linear(settings.hidden, 4 * per_box[settings.boxes])
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_uniform_(layer.weight, a=1)  # detectron2's "c2_xavier"
            nn.init.zeros_(layer.bias)
        for layer, deviation in ((self.classes, 0.01), (self.deltas, 0.001)):  # Fast R-CNN, section 2.3
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    def _check_strides(self, spec: PyramidSpec) -> None:
        if not self.strides:
            wanted = f"a map of stride {self.settings.pooling.max_stride} or finer"
            raise PartsError(Problem("roi.pooling.max_stride", f"rcnn needs {wanted}, but has {spec.describe()}"))
        doubling = tuple(self.strides[0] << step for step in range(len(self.strides)))
        if len(self.strides) > 1 and (self.strides != doubling or self.strides[0] & (self.strides[0] - 1)):
            raise PartsError(
                Problem("head 'rcnn'", f"needs strides that double (4, 8, 16 ...), but has {spec.describe()}")
            )

    def forward(
        self, maps: Sequence[Tensor], boxes: Tensor, images: Tensor, table: MapRows | None = None
    ) -> tuple[Tensor, Tensor]:
        """Class logits (P, K + 1) and deltas (P, B, 4), float32, of proposals (P, 4) of images (P,).

        Args:
            maps: (N, C, H_i, W_i) float each, finest first.
            boxes: (P, 4) proposals in pixels of the padded images.
            images: (P,) int64, which image each proposal is of.
            table: the rows of the same maps, where the caller has them already.
        """
        pooling = self.settings.pooling
        if pooling.kind == "max" and not self.plus_one:
            boxes = box_ops.to_inclusive(boxes)
        if table is not None and pooling.kind != "max" and pooling.sampling and maps[0].device.type == "cpu":
            half_pixel = pooling.kind == "align_half_pixel"
            pooled = align_rows(table, self.strides, boxes, images, half_pixel, pooling.size, pooling.sampling)
        else:
            used = maps[: len(self.strides)]
            pooled = pool_boxes(used, self.strides, boxes, images, pooling.kind, pooling.size, pooling.sampling)
        pooled = pooled.flatten(1).to(
            self.fc6.weight.dtype
        )  # weights of half precision; a net in float32 stays as it is
        hidden = self.dropout(F.relu(self.fc6(pooled), inplace=True))
        hidden = self.dropout(F.relu(self.fc7(hidden), inplace=True))
        logits, deltas = self.classes(hidden), self.deltas(hidden)
        return logits.float(), deltas.float().unflatten(1, (-1, 4))

    def _deltas_of(self, deltas: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
        """The deltas (M, 4) that speak for given labels 0..K-1 in given rows."""
        offsets = {"class_and_background": labels + 1, "class": labels, "agnostic": torch.zeros_like(labels)}
        return deltas[rows, offsets[self.settings.boxes]]

    def deltas_of_classes(self, deltas: Tensor) -> Tensor:
        """Deltas (P, B, 4) as those of each class, (P, K, 4)."""
        if self.settings.boxes == "agnostic":
            return deltas.expand(-1, self.num_classes, -1)
        return deltas[:, 1:] if self.settings.boxes == "class_and_background" else deltas

    @torch.no_grad()
    def assign(self, proposals: Tensor, objects: Objects) -> tuple[Tensor, Tensor, Tensor]:
        """The proposals of one image that the loss looks at: boxes (S, 4), labels (S,) or background, deltas (S, 4).

        The objects themselves are proposals too, so that there are positives from the first step on.
        """
        settings = self.settings
        proposals = torch.cat((proposals, objects.boxes))
        iou = settings.positive_iou
        match = match_boxes(proposals, objects.boxes, iou, iou, plus_one=self.plus_one)
        match = leave_out(match, proposals, objects.crowd, objects.difficult, iou, self.plus_one)
        positive, negative = sample_balanced(match, settings.samples, settings.positive_fraction)
        boxes = proposals[torch.cat((positive, negative))]
        labels = match.new_full((len(boxes),), BACKGROUND)
        labels[: len(positive)] = objects.labels[match[positive]]
        targets = boxes.new_zeros(len(boxes), 4)
        targets[: len(positive)] = box_ops.encode(
            objects.boxes[match[positive]], boxes[: len(positive)], settings.box_weights, self.plus_one
        )
        return boxes, labels, targets

    def loss(
        self, maps: Sequence[Tensor], table: MapRows | None, proposals: Sequence[Tensor], objects: Sequence[Objects]
    ) -> dict[str, Tensor]:
        """Cross-entropy over the sampled proposals, and smooth L1 over the objects divided by all sampled.

        Args:
            maps: (N, C, H_i, W_i) float each, finest first.
            table: the rows of the same maps, or None to make them.
            proposals: (P_i, 4) proposals of each image, in pixels.
            objects: what there is to find in each image.
        """
        assigned = [self.assign(boxes, each) for boxes, each in zip(proposals, objects, strict=True)]
        boxes, labels, targets = (torch.cat(parts) for parts in zip(*assigned, strict=True))
        logits, deltas = self(maps, boxes, image_numbers([part[0] for part in assigned]), table)
        number = max(1, len(boxes))
        classes = torch.where(labels == BACKGROUND, _BACKGROUND_CLASS, labels + 1)
        (positive,) = true_places([labels != BACKGROUND])
        found = self._deltas_of(deltas, positive, labels[positive])
        smoothing = self.settings.label_smoothing
        offset = F.smooth_l1_loss(found, targets[positive], reduction="sum", beta=self.settings.box_beta)
        return {
            "roi_classes": F.cross_entropy(logits, classes, reduction="sum", label_smoothing=smoothing) / number,
            "roi_boxes": offset / number,
        }

    @torch.no_grad()
    def detect(
        self, logits: Tensor, deltas: Tensor, proposals: Tensor, size: Sequence[int], test: DetectionSettings
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (D, 4) in the head's convention, scores (D,) and labels (D,) of one image, best first.

        Only boxes whose score passes are decoded at all.

        Args:
            logits: (P, K + 1) class logits of one image's proposals.
            deltas: (P, B, 4) offsets of one image's proposals.
            proposals: (P, 4) the proposals in pixels of the padded image.
            size: (height, width) of the image within the padding, in pixels.
            test: which boxes become detections of the image.
        """
        return self.decided(logits.softmax(1)[:, 1:], deltas, proposals, size, test)

    def decided(
        self, scores: Tensor, deltas: Tensor, proposals: Tensor, size: Sequence[int], test: DetectionSettings
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What `detect` gives where the scores of proposals are known.

        Args:
            scores: (P, K) probability of each class, 0..1, of one image's proposals.
            deltas: (P, B, 4) offsets of one image's proposals.
            proposals: (P, 4) the proposals in pixels of the padded image.
            size: (height, width) of the image within the padding, in pixels.
            test: which boxes become detections of the image.
        """
        rows, labels = (scores > test.score).nonzero(as_tuple=True)
        scores = scores[rows, labels]
        boxes = box_ops.decode(
            self._deltas_of(deltas, rows, labels), proposals[rows], self.settings.box_weights, self.plus_one
        )
        boxes = box_ops.clip(boxes, size, self.plus_one)
        keep = box_ops.at_least(boxes, test.min_side, self.plus_one)
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        keep = box_ops.suppress(boxes, scores, labels, test.nms_iou, self.plus_one)[: test.per_image]
        places = boxes[keep]
        if test.vote_iou is not None:
            places = box_ops.voted(keep, boxes, scores, labels, test.vote_iou, self.plus_one)
        return places, scores[keep], labels[keep]


def image_numbers(boxes: Sequence[Tensor]) -> Tensor:
    """(P,) int64: for each row of the concatenated boxes (P_i, 4), the index of its image."""
    return torch.cat([torch.full_like(each[:, 0], number, dtype=torch.int64) for number, each in enumerate(boxes)])
