"""Faster R-CNN with ResNet-50 and FPN: a training step and an inference against torchvision's.

Both have the same settings and weights (torchvision's, random); images are given at their final size, so that neither
resizes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.ops import FrozenBatchNorm2d

from benchmarks.rows import Goal, Measurements, Row, Way, Work
from toolkit.backbones.resnet import ResNet
from toolkit.heads.rcnn import RcnnHead
from toolkit.models.torchvision_weights import faster_rcnn_names
from toolkit.models.vision_model import VisionModel
from toolkit.necks.fpn import FPN
from toolkit.samples import Batch, Boxes, Sample, collate

CLASSES = 20


def rows() -> list[Row]:
    goals = (Goal("torchvision", most=0.70),)
    return [
        Row("detector_step", "Faster R-CNN R50-FPN, training step, 480 × 640", training, goals, rounds=3),
        Row("detector_inference", "Faster R-CNN R50-FPN, inference, 480 × 640", inference, goals),
    ]


def training(work: Work) -> Measurements:
    """Forward, four losses and backward."""
    size, number = ((64, 96), 1) if work.toy else ((480, 640), 1)
    torch.manual_seed(0)
    theirs, ours = build(size)
    theirs.train(), ours.train()
    batch, images, targets = make_data(size, number, 8)

    def step(model: torch.nn.Module, losses: Callable[[], dict[str, Tensor]]) -> Way:
        def run() -> None:
            model.zero_grad(set_to_none=True)
            torch.stack(list(losses().values())).sum().backward()

        return run

    return work.in_turn(
        {"toolkit": step(ours, lambda: ours.loss(batch)), "torchvision": step(theirs, lambda: theirs(images, targets))}
    )


def inference(work: Work) -> Measurements:
    """From an image to its detections."""
    size = (64, 96) if work.toy else (480, 640)
    torch.manual_seed(0)
    theirs, ours = build(size)
    theirs.eval(), ours.eval()
    batch, images, _ = make_data(size, 1, 8)

    def torchvisions() -> None:
        with torch.inference_mode():
            theirs(images)

    return work.in_turn({"toolkit": lambda: ours.predict(batch), "torchvision": torchvisions})


def build(size: tuple[int, int]) -> tuple[torch.nn.Module, VisionModel]:
    theirs = fasterrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES + 1,
        trainable_backbone_layers=5,
        min_size=min(size),
        max_size=max(size),
        norm_layer=None,
    )
    freeze_statistics(theirs)
    for layer in (theirs.backbone.body.conv1, theirs.backbone.body.bn1, theirs.backbone.body.layer1):
        layer.requires_grad_(False)  # what trainable_backbone_layers=3 means for pretrained weights
    torch.nn.init.normal_(theirs.rpn.head.bbox_pred.weight, std=0.05)
    backbone = ResNet(depth=50, norm="frozen_batch", frozen_stages=2)
    neck = FPN(backbone.spec)
    ours = VisionModel(backbone, neck, RcnnHead(neck.spec, CLASSES), [str(k) for k in range(CLASSES)])
    ours.load_state_dict(faster_rcnn_names(theirs.state_dict()))
    return theirs, ours


def freeze_statistics(module: torch.nn.Module) -> None:
    """Batch normalisation as with pretrained weights: frozen. The last one of a block is turned down, so that the
    activations of a random net stay in range.
    """
    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            child = FrozenBatchNorm2d(child.num_features)
            setattr(module, name, child)
        if isinstance(child, FrozenBatchNorm2d) and name == "bn3":
            child.weight.fill_(0.3)
        freeze_statistics(child)


def make_data(size: tuple[int, int], number: int, objects: int) -> tuple[Batch, list[Tensor], list[dict[str, Tensor]]]:
    rng = np.random.default_rng(0)
    samples = []
    for n in range(number):
        corner = rng.uniform(0, [size[1] * 0.8, size[0] * 0.8], (objects, 2))
        corners = np.concatenate((corner, corner + rng.uniform(8, min(size) / 3, (objects, 2))), 1)
        corners[:, 2:] = np.minimum(corners[:, 2:], [size[1], size[0]])
        image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        samples.append(Sample(image, f"{n}", n, size, boxes=Boxes.of(corners, rng.integers(0, CLASSES, objects))))
    batch = collate(samples)
    images = [image.float() / 255 for image in batch.images]
    targets = [{"boxes": each.xyxy, "labels": each.labels + 1} for each in batch.boxes or ()]
    return batch, images, targets
