"""Faster R-CNN: a region proposal network and a second stage on the maps of any pyramid.

Ren et al., "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks" (2015); with more than
one map, Lin et al., "Feature Pyramid Networks for Object Detection" (2017). Official files: rbgirshick/py-faster-rcnn,
torchvision/models/detection, facebookresearch/detectron2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toolkit.contracts import (
    HEADS,
    AnchorLayout,
    AnchorStyle,
    ClassRows,
    DetectionLimits,
    DetectionTensors,
    FeaturePyramid,
    Head,
    PyramidSpec,
    Suppress,
)
from toolkit.errors import DataError, PartsError, Problem
from toolkit.heads.rcnn_presets import FASTER_RCNN_2015
from toolkit.heads.rcnn_tensors import Pictures, clip_to, detect, propose, with_nothing_behind
from toolkit.heads.rcnn_ties import Stages, in_file, near_limits
from toolkit.heads.roi import DetectionSettings, Roi, RoiSettings, image_numbers
from toolkit.heads.rpn import Objects, Rpn, RpnSettings
from toolkit.ops import boxes as box_ops
from toolkit.ops.anchors import TORCHVISION_MULTIPLE
from toolkit.ops.roi_pooling import MapRows
from toolkit.samples import Batch, Detections, Prediction

_FROZEN = Problem(
    "head 'rcnn'",
    "a traced detector would be wrong at every other size: tracing freezes the image's size and the numbers of boxes",
    "torch.export.export takes the size and batch of its example, and refuses others",
)


class RcnnOutputs(NamedTuple):
    """Raw outputs, before any score is looked at. A anchors an image, P proposals in all, K classes.

    Args:
        objectness: (N, A) logit of each anchor being an object.
        anchor_deltas: (N, A, 4) offsets from each anchor to its object.
        proposals: (P, 4) pixels of the padded images, in the head's convention.
        proposal_images: (P,) int64, which image each proposal is of.
        class_logits: (P, K + 1) logit of each class and of the background.
        box_deltas: (P, B, 4) offsets from each proposal, B as `RoiSettings.boxes`.
    """

    objectness: Tensor
    anchor_deltas: Tensor
    proposals: Tensor
    proposal_images: Tensor
    class_logits: Tensor
    box_deltas: Tensor


@HEADS.register("rcnn")
class RcnnHead(Head):
    """Faster R-CNN. Anchors and levels follow from the strides it is given; the defaults are torchvision's FPN values.

    Raises PartsError when the maps differ in channels, are not doubling in stride or do not cover the image.

    Args:
        spec: what the backbone or neck produces: maps of equal channels, each stride twice the one before.
        num_classes: number of classes K, background not counted.
        rpn: the first stage, which proposes boxes; `toolkit.heads.rcnn_presets` has the values of the 2015 net and of
            detectron2.
        roi: the second stage, which says class and box of each proposal.
        test: which of the second stage's boxes become detections.
        convention: "plus_one" computes as py-faster-rcnn does, with x2 and y2 inside the box everywhere (overlap,
            suppression, offsets, clipping); boxes in batches and detections stay exclusive.
        unclear: what to do where a crowd or a difficult object is, which is never a target. "ignore": anchors and
            proposals that show it and no target are neither object nor background; "background": they are background,
            as in all three official codes, which drop those objects before training.
    """

    gives: ClassVar[type[Prediction] | None] = Detections
    former_settings: ClassVar[Mapping[str, Mapping[str | None, str]]] = {
        "rpn.anchors.style": {None: "torchvision_unpadded", "torchvision": "torchvision_unpadded"}
    }

    def __init__(
        self,
        spec: PyramidSpec,
        num_classes: int,
        rpn: RpnSettings = RpnSettings(),  # noqa: B008 (frozen)
        roi: RoiSettings = RoiSettings(),  # noqa: B008
        test: DetectionSettings = DetectionSettings(),  # noqa: B008
        convention: Literal["modern", "plus_one"] = "modern",
        unclear: Literal["ignore", "background"] = "ignore",
    ) -> None:
        super().__init__()
        if any(spec.borders):
            raise PartsError(
                Problem("head 'rcnn'", f"needs maps that cover the whole image; borders are {spec.borders}")
            )
        self.num_classes = num_classes
        self.test = test
        self.unclear = unclear
        self.plus_one = convention == "plus_one"
        self.pad_multiple = _multiple(rpn.anchors.style)
        self.rpn = Rpn(spec, rpn, self.plus_one)
        self.roi = Roi(spec, num_classes, roi, self.plus_one)

    @property
    def max_detections(self) -> int:
        """The most detections of an image that `predict` gives, those of the highest scores."""
        return self.test.per_image

    @property
    def detection_limits(self) -> DetectionLimits:
        """See `Head.detection_limits`."""
        return DetectionLimits(self.test.score, self.test.per_image, self.test.nms_iou)

    def limit_detections(
        self, score: float | None = None, count: int | None = None, nms_iou: float | None = None
    ) -> None:
        """See `Head.limit_detections`.

        Args:
            score: detections down to this probability, 0..1, are let through; it lowers the head's own limit only.
            count: the most detections of an image, best first.
            nms_iou: overlap, 0..1, above which the worse of two boxes of a class goes.
        """
        own = self.test
        self.test = replace(
            own,
            score=own.score if score is None else min(score, own.score),
            per_image=own.per_image if count is None else count,
            nms_iou=own.nms_iou if nms_iou is None else nms_iou,
        )

    def merged(self, found: Sequence[Detections]) -> Detections:
        """See `Head.merged`: what each look's boxes went through, suppression and votes, over all of them together."""
        boxes = torch.cat([one.boxes for one in found])
        scores, labels = torch.cat([one.scores for one in found]), torch.cat([one.labels for one in found])
        keep = box_ops.suppress(boxes, scores, labels, self.test.nms_iou)[: self.test.per_image]
        vote = self.test.vote_iou
        places = boxes[keep] if vote is None else box_ops.voted(keep, boxes, scores, labels, vote)
        return Detections(places, scores[keep], labels[keep])

    @classmethod
    def of_2015(cls, spec: PyramidSpec, num_classes: int) -> RcnnHead:
        """The head with py-faster-rcnn's values, for one map of stride 16."""
        return cls(spec, num_classes, **FASTER_RCNN_2015)

    def forward(self, pyramid: FeaturePyramid) -> RcnnOutputs:
        """Raw outputs for images without padding, with as many proposals as at test time."""
        if torch.jit.is_tracing():  # type: ignore[attr-defined]
            raise PartsError(_FROZEN)
        sizes = [pyramid.image_size] * len(pyramid.maps[0])
        return self._outputs(pyramid, sizes, [self.rpn.settings.proposals.min_side] * len(sizes))

    def _outputs(
        self, pyramid: FeaturePyramid, sizes: Sequence[Sequence[int]], min_sides: Sequence[float]
    ) -> RcnnOutputs:
        settings = self.rpn.settings.proposals
        objectness, deltas = self.rpn(pyramid.maps)
        limits = settings.before_test, settings.after_test
        proposals = self.rpn.propose(pyramid, objectness.detach(), deltas.detach(), sizes, min_sides, limits)
        images = image_numbers(proposals)
        class_logits, box_deltas = self.roi(pyramid.maps, torch.cat(proposals), images)
        return RcnnOutputs(objectness, deltas, torch.cat(proposals), images, class_logits, box_deltas)

    def loss(self, pyramid: FeaturePyramid, batch: Batch) -> dict[str, Tensor]:
        """rpn_objectness, rpn_boxes, roi_classes, roi_boxes; each 0, not NaN, where there is nothing to learn from.

        Raises DataError when the batch has no boxes or a label that the head does not have.
        """
        objects = [each.to(pyramid.maps[0].device) for each in self._objects(batch)]
        settings = self.rpn.settings.proposals
        table = MapRows.of(pyramid.maps)
        with torch.no_grad():
            objectness, deltas = self.rpn(pyramid.maps)
        limits = settings.before_train, settings.after_train
        sizes = [each.size for each in objects]
        proposals = self.rpn.propose(pyramid, objectness, deltas, sizes, self._min_sides(batch), limits)
        return {
            **self.rpn.loss(pyramid, table, objects),
            **self.roi.loss(pyramid.maps, table, proposals, objects),
        }

    def predict(self, pyramid: FeaturePyramid, batch: Batch) -> list[Prediction]:
        """`Detections` of each image in its original pixels, best first."""
        sizes = batch.sizes.tolist()
        outputs = self._outputs(pyramid, sizes, self._min_sides(batch))
        counts = outputs.proposal_images.bincount(minlength=len(sizes)).tolist()
        parts = (part.split(counts) for part in (outputs.class_logits, outputs.box_deltas, outputs.proposals))
        found: list[Prediction] = []
        for logits, deltas, proposals, size, original in zip(*parts, sizes, batch.original_sizes.tolist(), strict=True):
            detected = self.roi.detect(logits, deltas, proposals, size, self.test)
            found.append(in_file(detected, size, original, self.plus_one))
        return found

    def near_limits(self, pyramid: FeaturePyramid, batch: Batch, within: float) -> Iterator[Prediction]:
        """See `Head.near_limits`: both stages decide again.

        Args:
            pyramid: the maps of the padded batch, of one image.
            batch: the image alone, with its size and that of its file.
            within: how far scores and overlaps are moved, 0..1.
        """
        stages = Stages(self.rpn, self.roi, self.test, self._min_sides(batch)[0])
        return near_limits(stages, pyramid, batch, within)

    @torch.no_grad()
    def detection_tensors(
        self, pyramid: FeaturePyramid, sizes: Tensor, original_sizes: Tensor, suppress: Suppress
    ) -> DetectionTensors:
        """See `Head.detection_tensors`; D is the most detections of an image.

        Args:
            pyramid: the maps of the padded batch, one for each level of anchors.
            sizes: (N, 2) int64 height and width of each image within the padding, in pixels.
            original_sizes: (N, 2) int64 height and width of each image on disk, in pixels.
            suppress: non-maximum suppression of groups of boxes, called as `ops.surviving.surviving` is.
        """
        settings = self.rpn.settings.proposals
        sides = torch.full((sizes.shape[0],), float(settings.min_side), dtype=torch.float64, device=sizes.device)
        if settings.min_side_in == "original":
            sides = sides * (sizes.double() / original_sizes.double()).amin(1)
        pictures = Pictures(sizes, sides.float())
        proposals = propose(self.rpn, pyramid, pictures, (settings.before_test, settings.after_test), suppress)
        found = detect(self.roi, pyramid.maps, proposals, pictures, self.test, suppress)
        boxes = box_ops.to_exclusive(found.boxes) if self.plus_one else found.boxes
        factors = (original_sizes.double() / sizes.double()).flip(1).repeat(1, 2)
        boxes = clip_to(boxes * factors[:, None].to(boxes), original_sizes)
        return with_nothing_behind(found._replace(boxes=boxes))

    def training_pass(self, pyramid: FeaturePyramid) -> Any:
        """Both stages, for as many anchors and proposals as the losses look at, not for all."""
        count, device = len(pyramid.maps[0]), pyramid.maps[0].device

        def zeros(per_image: int, *shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros((count * per_image, *shape), dtype=dtype, device=device)

        first, second = self.rpn.settings.samples, self.roi.settings.samples
        table = MapRows.of(pyramid.maps)
        objectness, anchor_deltas = self.rpn.at(table, zeros(first), zeros(first))
        boxes = zeros(second, 4, dtype=torch.float32)
        logits, box_deltas = self.roi(pyramid.maps, boxes, zeros(second), table)
        return [
            F.binary_cross_entropy_with_logits(objectness, torch.zeros_like(objectness)),
            F.smooth_l1_loss(anchor_deltas, torch.zeros_like(anchor_deltas)),
            F.cross_entropy(logits.float(), zeros(second)),
            F.smooth_l1_loss(box_deltas, torch.zeros_like(box_deltas)),
        ]

    def class_layers(self) -> dict[nn.Module, ClassRows]:
        """The second stage's two last layers: background first, then the classes; one box of four numbers a class."""
        boxes = {"class_and_background": ClassRows(4, 4), "class": ClassRows(0, 4)}.get(self.roi.settings.boxes)
        return {self.roi.classes: ClassRows(1), **({self.roi.deltas: boxes} if boxes else {})}

    def setting(self, key: str) -> str:
        """The style of the anchors, the one setting that weights may have been trained with otherwise."""
        return {"rpn.anchors.style": self.rpn.settings.anchors.style}[key]

    def change_setting(self, key: str, value: str) -> None:
        """Lays the anchors otherwise, as the weights were trained that are loaded."""
        if key not in self.former_settings:
            super().change_setting(key, value)
        style = cast(AnchorStyle, value)
        anchors = dataclasses.replace(self.rpn.settings.anchors, style=style)
        self.rpn.settings = dataclasses.replace(self.rpn.settings, anchors=anchors)
        self.pad_multiple = _multiple(style)

    def anchor_layout(self) -> AnchorLayout:
        """The anchors of the first stage."""
        settings = self.rpn.settings
        anchors = settings.anchors
        return AnchorLayout(
            anchors.scales, anchors.ratios, anchors.style, self.rpn.strides,
            settings.positive_iou, settings.inside_only, "rpn.anchors", anchors.unit,
        )  # fmt: skip

    def _min_sides(self, batch: Batch) -> list[float]:
        """The shortest side of a proposal, for each image, in its resized pixels."""
        settings = self.rpn.settings.proposals
        if settings.min_side_in == "resized":
            return [settings.min_side] * batch.count
        # py-faster-rcnn's im_scale: both sides are resized by one factor, up to rounding.
        factors = (batch.sizes.double() / batch.original_sizes.double()).amin(1)
        return (settings.min_side * factors).tolist()

    def _objects(self, batch: Batch) -> list[Objects]:
        if batch.boxes is None:
            raise DataError(
                Problem(", ".join(batch.names), "rcnn learns from boxes, but these samples have none annotated")
            )
        found = []
        for name, size, boxes in zip(batch.names, batch.sizes.tolist(), batch.boxes, strict=True):
            xyxy, labels, crowd, difficult, _ = (torch.as_tensor(field) for field in tuple(boxes))
            # Elsewhere looking would make every step wait for the device; a training leaves boxes on the host.
            if labels.device.type == "cpu" and len(labels) and int(labels.max()) >= self.num_classes:
                raise DataError(
                    Problem(name, f"label {int(labels.max())}, but the head has classes 0..{self.num_classes - 1}")
                )
            # A box without area has no offsets to learn; the data check reports it.
            solid = (xyxy[:, 2:] > xyxy[:, :2]).all(1)
            target = solid & ~crowd & ~difficult
            kept = self.unclear == "ignore"
            xyxy = box_ops.to_inclusive(xyxy) if self.plus_one else xyxy
            found.append(
                Objects(xyxy[target], labels[target], xyxy[crowd & kept], xyxy[difficult & ~crowd & kept], tuple(size))
            )
        return found


def _multiple(style: AnchorStyle) -> int:
    """To which multiple images are padded: torchvision's anchors lie on what its own padding makes of an image."""
    return TORCHVISION_MULTIPLE if style == "torchvision" else 1
