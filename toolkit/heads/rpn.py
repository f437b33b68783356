"""The region proposal network: which of many fixed boxes hold an object, and how each should move to fit it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toolkit.bounds import NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from toolkit.contracts import AnchorStyle, AnchorUnit, FeaturePyramid, PyramidSpec
from toolkit.errors import PartsError, Problem
from toolkit.ops import boxes as box_ops
from toolkit.ops.anchors import base_anchors, grid_anchors, grid_step, inside_image, scales_in_strides
from toolkit.ops.matching import leave_out, match_boxes, sample_balanced
from toolkit.ops.roi_pooling import MapRows
from toolkit.ops.true_places import true_places


class Objects(NamedTuple):
    """What there is to find in one image, in the pixels and the convention of the head.

    Args:
        boxes: (G, 4) float32 xyxy pixels, the targets.
        labels: (G,) int64 class of each target, 0..K-1.
        crowd: (., 4) boxes that are no targets.
        difficult: (., 4) boxes that are no targets.
        size: (height, width) of the image within the padded batch.
    """

    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    difficult: Tensor
    size: tuple[int, int]

    def to(self, device: torch.device) -> Objects:
        """The same with its tensors there."""
        return Objects(
            self.boxes.to(device), self.labels.to(device), self.crowd.to(device), self.difficult.to(device), self.size
        )


@dataclass(frozen=True)
class AnchorSettings:
    """Shapes of the anchors.

    The defaults are those of FPN (section 4.1: 32 pixels on stride 4 ... 512 on stride 64), on the true strides.

    Args:
        scales: square roots of the anchors' areas, in strides of their map or in pixels, as `unit` says.
        ratios: height divided by width of the anchors; 1 is a square.
        style: how anchors are rounded and how far apart they stand (`ops/anchors.py`); weights trained with one do not
            fit another.
        unit: what `scales` are counted in: strides of each map, or pixels, the same on every map (torchvision's detectors
            on MobileNetV3: 32 to 512 on each).
    """

    scales: tuple[PositiveFloat, ...] = (8.0,)
    ratios: tuple[PositiveFloat, ...] = (0.5, 1.0, 2.0)
    style: AnchorStyle = "stride"
    unit: AnchorUnit = "strides"


@dataclass(frozen=True)
class ProposalSettings:
    """From anchors to proposals. Defaults: torchvision's `fasterrcnn_resnet50_fpn`.

    Args:
        before_train: anchors *of each map* that enter the suppression while training, best first.
        after_train: proposals of an image that leave the suppression while training, at most.
        before_test: anchors *of each map* that enter the suppression when predicting, best first.
        after_test: proposals of an image that leave the suppression when predicting, at most.
        nms_iou: overlap, 0..1, above which the worse of two boxes of a map goes.
        min_side: shortest side of a proposal in pixels; shorter boxes are dropped.
        min_side_in: which pixels `min_side` counts: "resized" as the net sees the image, or "original" as it was
            before.
        min_side_first: whether boxes that are too short are dropped before the best `before_*` are taken
            (py-faster-rcnn, `proposal_layer.py`) or after (torchvision), when they have taken places of others.
    """

    before_train: PositiveInt = 2000
    after_train: PositiveInt = 2000
    before_test: PositiveInt = 1000
    after_test: PositiveInt = 1000
    nms_iou: Probability = 0.7
    min_side: NonNegativeFloat = 1e-3
    min_side_in: Literal["resized", "original"] = "resized"
    min_side_first: bool = False


@dataclass(frozen=True)
class RpnSettings:
    """The region proposal network and its training. Defaults: torchvision's `fasterrcnn_resnet50_fpn`.

    Args:
        anchors: shapes of the boxes that proposals start from.
        proposals: which of the anchors become proposals.
        objectness: outputs of an anchor: one logit (sigmoid), or two (softmax; channels: background of all anchors,
            then objects).
        positive_iou: overlap, 0..1, from which an anchor is an object's.
        negative_iou: overlap, 0..1, below which an anchor is background.
        samples: anchors of an image that the loss looks at.
        positive_fraction: largest part of them, 0..1, that are objects.
        box_beta: offset at which smooth L1 turns from square to straight; 1/9 is py-faster-rcnn's sigma 3, 0 is L1.
        inside_only: whether training leaves out anchors that cross the image's border.
    """

    anchors: AnchorSettings = AnchorSettings()
    proposals: ProposalSettings = ProposalSettings()
    objectness: Literal["sigmoid", "softmax"] = "sigmoid"
    positive_iou: Probability = 0.7
    negative_iou: Probability = 0.3
    samples: PositiveInt = 256
    positive_fraction: Probability = 0.5
    box_beta: NonNegativeFloat = 1 / 9
    inside_only: bool = False


class Rpn(nn.Module):
    """A 3x3 convolution and two 1x1 convolutions, shared by all maps, over anchors derived from the maps' strides.

    The answer for an anchor is found for all anchors without a graph, and again, with one, at the few anchors that
    the loss looks at: their gradient is the same, and nothing is kept or computed backwards for the rest.

    Args:
        spec: what the backbone or neck produces.
        settings: anchors, proposals, and how anchors are sampled and trained.
        plus_one: whether x2 and y2 are inclusive (`ops/boxes.py`).
    """

    def __init__(self, spec: PyramidSpec, settings: RpnSettings, plus_one: bool = False) -> None:
        super().__init__()
        if len(set(spec.channels)) > 1:
            raise PartsError(
                Problem(
                    "head 'rcnn'",
                    f"needs maps of equal channels, but has {spec.describe()}",
                    "put the neck 'fpn' before it",
                )
            )
        self.settings = settings
        self.plus_one = plus_one
        self.strides = spec.strides
        anchors = settings.anchors
        self.per_cell = len(anchors.scales) * len(anchors.ratios)
        channels = spec.channels[0]
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, self.per_cell * (2 if settings.objectness == "softmax" else 1), 1)
        self.deltas = nn.Conv2d(channels, self.per_cell * 4, 1)
        for layer in (self.conv, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)  # Faster R-CNN, section 3.1.3
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        # One grid, that of the latest image size and device: a data set has one size, or changes it every batch.
        self._grid: tuple[tuple[object, ...], Tensor] = ((), torch.empty(0))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps (N, C, H_i, W_i) -> objectness logits (N, A), deltas (N, A, 4), float32, in the order of `anchors`."""
        logits, deltas = [], []
        for one in maps:
            hidden = F.relu(self.conv(one), inplace=True)
            logits.append(self._logit(self.objectness(hidden).permute(0, 2, 3, 1)).flatten(1))
            deltas.append(self.deltas(hidden).permute(0, 2, 3, 1).reshape(one.shape[0], -1, 4).float())
        return torch.cat(logits, 1), torch.cat(deltas, 1)

    def _logit(self, values: Tensor) -> Tensor:
        """One logit an anchor: (..., A) as they are, or (..., 2A), whose softmax is the sigmoid of the difference."""
        values = values.float()
        if self.settings.objectness == "sigmoid":
            return values
        background, objects = values.split(self.per_cell, -1)
        return objects - background

    def at(self, table: MapRows, images: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (S,) and deltas (S, 4) of chosen anchors: their image (S,) and place in `anchors` (S,).

        The 3x3 convolution is done on the chosen cells alone, as one matrix product over their nine neighbours.

        Args:
            table: the maps as rows of channels (`MapRows.of`).
            images: (S,) int64, which image each chosen anchor is of.
            anchors: (S,) int64 place of each chosen anchor in the image's anchors.
        """
        cell = torch.div(anchors, self.per_cell, rounding_mode="floor")
        level = torch.bucketize(cell, torch.tensor(table.starts, device=cell.device), right=True) - 1
        height, width = (table.per_box([size[side] for size in table.sizes], level)[:, None] for side in (0, 1))
        place = cell - table.per_box(table.starts, level)
        offset = torch.arange(9, device=cell.device)
        y = torch.div(place[:, None], width, rounding_mode="floor") + offset // 3 - 1
        x = place[:, None] % width + offset % 3 - 1
        exists = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        rows = torch.where(
            exists, (images * table.cells + cell)[:, None] + (offset // 3 - 1) * width + offset % 3 - 1, 0
        )
        patches = F.embedding(rows, table.rows) * exists[..., None]
        weight = self.conv.weight.permute(0, 2, 3, 1).flatten(1)
        hidden = F.relu(F.linear(patches.flatten(1), weight, self.conv.bias), inplace=True)
        logits = self._logit(F.linear(hidden, self.objectness.weight.flatten(1), self.objectness.bias))
        deltas = F.linear(hidden, self.deltas.weight.flatten(1), self.deltas.bias).float().view(-1, self.per_cell, 4)
        which = (anchors % self.per_cell)[:, None]
        return logits.gather(1, which)[:, 0], deltas.gather(1, which[..., None].expand(-1, 1, 4))[:, 0]

    def anchors(self, pyramid: FeaturePyramid) -> Tensor:
        """All anchors (A, 4) of a pyramid, map after map."""
        device = pyramid.maps[0].device
        sizes = tuple((m.shape[2], m.shape[3]) for m in pyramid.maps)
        key = (pyramid.image_size, sizes, device, self.settings.anchors.style)
        if not torch.compiler.is_compiling() and self._grid[0] == key:  # sizes that are symbols must not be compared
            return self._grid[1]
        anchors = torch.cat([self.anchors_of(number, pyramid) for number in range(len(sizes))])
        if not torch.compiler.is_compiling():
            self._grid = (key, anchors)
        return anchors

    def anchors_of(self, number: int, pyramid: FeaturePyramid) -> Tensor:
        """The anchors (H * W * A, 4) of one map of a pyramid, by its number, in the head's convention."""
        wanted, stride, features = self.settings.anchors, self.strides[number], pyramid.maps[number]
        size = (features.shape[2], features.shape[3])
        scales = scales_in_strides(wanted.scales, stride, wanted.unit)
        base = base_anchors(stride, scales, wanted.ratios, wanted.style).to(features.device)
        anchors = grid_anchors(base, size, grid_step(pyramid.image_size, size, stride, wanted.style))
        # Anchors of the caffe style are inclusive, the others exclusive.
        if self.plus_one and wanted.style != "caffe":
            return box_ops.to_inclusive(anchors)
        return box_ops.to_exclusive(anchors) if not self.plus_one and wanted.style == "caffe" else anchors

    @torch.no_grad()
    def propose(
        self,
        pyramid: FeaturePyramid,
        logits: Tensor,
        deltas: Tensor,
        sizes: Sequence[Sequence[int]],
        min_sides: Sequence[float],
        limits: tuple[int, int],
        nms_iou: float | None = None,
    ) -> list[Tensor]:
        """Proposals (P_i, 4) of each image, best first, without a graph (approximate joint training, section 3.2).

        Args:
            pyramid: the maps the anchors stand on.
            logits: (N, A) objectness of each anchor.
            deltas: (N, A, 4) offsets of each anchor.
            sizes: (height, width) of each image within the padding.
            min_sides: shortest side of a proposal of each image, in pixels.
            limits: anchors a map before and boxes an image after the suppression.
            nms_iou: overlap from which on the worse of two boxes is left out, 0..1; None: that of the settings.
        """
        before, after = limits
        nms_iou = self.settings.proposals.nms_iou if nms_iou is None else nms_iou
        if logits.is_meta:  # nothing can be compared there: as many as there can be
            return [logits.new_zeros(min(after, logits.shape[1]), 4) for _ in sizes]
        counts = [m.shape[2] * m.shape[3] * self.per_cell for m in pyramid.maps]
        anchors = self.anchors(pyramid)
        if self.settings.proposals.min_side_first:
            logits = self._without_short(logits, deltas, anchors, sizes, min_sides)
        chosen, groups, start = [], [], 0
        for group, (count, part) in enumerate(zip(counts, logits.split(counts, 1), strict=True)):
            best = part.topk(min(before, count), 1).indices + start
            chosen.append(best)
            groups.append(torch.full_like(best[0], group))
            start += count
        index, from_map = torch.cat(chosen, 1), torch.cat(groups)
        scores = logits.gather(1, index)  # their probabilities round to the same number from 17 on
        deltas = deltas.gather(1, index[..., None].expand(-1, -1, 4))
        decoded = [
            box_ops.clip(box_ops.decode(moved, anchors[best], plus_one=self.plus_one), size, self.plus_one)
            for moved, best, size in zip(deltas, index, sizes, strict=True)
        ]
        long_enough = true_places(
            [box_ops.at_least(boxes, side, self.plus_one) for boxes, side in zip(decoded, min_sides, strict=True)]
        )
        proposals = []
        for number, (boxes, keep) in enumerate(zip(decoded, long_enough, strict=True)):
            boxes, score = boxes[keep], scores[number][keep]
            keep = box_ops.suppress(boxes, score, from_map[keep], nms_iou, self.plus_one)
            proposals.append(boxes[keep[:after]])
        return proposals

    def _without_short(
        self,
        logits: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        sizes: Sequence[Sequence[int]],
        min_sides: Sequence[float],
    ) -> Tensor:
        """(N, A) logits with -inf where an anchor's box, clipped to its image, is too short: it comes last."""
        rows = []
        for row, moved, size, side in zip(logits, deltas, sizes, min_sides, strict=True):
            boxes = box_ops.clip(box_ops.decode(moved, anchors, plus_one=self.plus_one), size, self.plus_one)
            rows.append(row.masked_fill(~box_ops.at_least(boxes, side, self.plus_one), float("-inf")))
        return torch.stack(rows)

    @torch.no_grad()
    def assign(self, anchors: Tensor, objects: Objects) -> tuple[Tensor, Tensor, Tensor]:
        """The anchors of one image that the loss looks at: places (S,), whether positive (S,), target deltas (S, 4)."""
        settings = self.settings
        usable = None
        if settings.inside_only:
            (usable,) = true_places([inside_image(anchors, objects.size, self.plus_one)])
            anchors = anchors[usable]
        match = match_boxes(
            anchors, objects.boxes, settings.positive_iou, settings.negative_iou, keep_best=True, plus_one=self.plus_one
        )
        match = leave_out(match, anchors, objects.crowd, objects.difficult, settings.negative_iou, self.plus_one)
        positive, negative = sample_balanced(match, settings.samples, settings.positive_fraction)
        places = torch.cat((positive, negative))
        is_positive = torch.arange(len(places), device=places.device) < len(positive)
        targets = anchors.new_zeros(len(places), 4)
        targets[: len(positive)] = box_ops.encode(
            objects.boxes[match[positive]], anchors[positive], plus_one=self.plus_one
        )
        return (places if usable is None else usable[places]), is_positive, targets

    def loss(self, pyramid: FeaturePyramid, table: MapRows, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """Binary cross-entropy over the sampled anchors, and smooth L1 over the positive ones divided by all sampled.

        Args:
            pyramid: the maps the anchors stand on.
            table: the same maps as rows of channels.
            objects: what there is to find in each image.
        """
        anchors = self.anchors(pyramid)
        assigned = [self.assign(anchors, each) for each in objects]
        places, positive, targets = (torch.cat(parts) for parts in zip(*assigned, strict=True))
        images = torch.cat([torch.full_like(each[0], number) for number, each in enumerate(assigned)])
        logits, deltas = self.at(table, images, places)
        number = max(1, len(places))
        objectness = F.binary_cross_entropy_with_logits(logits, positive.to(logits), reduction="sum") / number
        (moved,) = true_places([positive])
        boxes = F.smooth_l1_loss(deltas[moved], targets[moved], reduction="sum", beta=self.settings.box_beta)
        return {"rpn_objectness": objectness, "rpn_boxes": boxes / number}
