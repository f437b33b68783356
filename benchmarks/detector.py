"""Faster R-CNN with ResNet and FPN: a training step and an inference against torchvision's, run in turn.

    python benchmarks/detector.py --height 480 --width 640 --repeat 5

Both have the same settings and weights (torchvision's, random); images are given at their final size, so that neither
resizes. Prints the median of each, in wall and in processor time, and the ratio ours / theirs of each pair's median.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torchvision.models.detection import fasterrcnn_resnet50_fpn

from toolkit.backbones.resnet import ResNet
from toolkit.heads.rcnn import RcnnHead
from toolkit.models.torchvision_weights import faster_rcnn_names
from toolkit.models.vision_model import VisionModel
from toolkit.necks.fpn import FPN
from toolkit.samples import Boxes, Sample, collate

CLASSES = 20


def build(size: tuple[int, int], device: str) -> tuple[torch.nn.Module, VisionModel]:
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
    return theirs.to(device), ours.to(device)


def freeze_statistics(module: torch.nn.Module) -> None:
    """Batch normalisation as with pretrained weights: frozen. The last one of a block is turned down, so that the
    activations of a random net stay in range.
    """
    from torchvision.ops import FrozenBatchNorm2d

    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            child = FrozenBatchNorm2d(child.num_features)
            setattr(module, name, child)
        if isinstance(child, FrozenBatchNorm2d) and name == "bn3":
            child.weight.fill_(0.3)
        freeze_statistics(child)


def make_data(size: tuple[int, int], number: int, objects: int, device: str):
    rng = np.random.default_rng(0)
    samples = []
    for n in range(number):
        corner = rng.uniform(0, [size[1] * 0.8, size[0] * 0.8], (objects, 2))
        corners = np.concatenate((corner, corner + rng.uniform(8, min(size) / 3, (objects, 2))), 1)
        corners[:, 2:] = np.minimum(corners[:, 2:], [size[1], size[0]])
        image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        samples.append(Sample(image, f"{n}", n, size, boxes=Boxes.of(corners, rng.integers(0, CLASSES, objects))))
    batch = collate(samples)
    boxes = tuple(Boxes(*(field.to(device) for field in each)) for each in batch.boxes)
    batch = batch._replace(images=batch.images.to(device), sizes=batch.sizes, boxes=boxes)
    images = [image.float() / 255 for image in batch.images]
    targets = [{"boxes": each.xyxy, "labels": each.labels + 1} for each in boxes]
    return batch, images, targets


def timed(run: Callable[[], object], device: str) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor


def compare(name: str, theirs: Callable[[], object], ours: Callable[[], object], repeat: int, device: str) -> None:
    theirs(), ours()
    rows = [(timed(theirs, device), timed(ours, device)) for _ in range(repeat)]
    for kind, index in (("wall", 0), ("processor", 1)):
        first, second = ([pair[side][index] for pair in rows] for side in (0, 1))
        ratios = [b / a for a, b in zip(first, second, strict=True)]
        print(
            f"{name:10} {kind:10} torchvision {statistics.median(first):7.3f} s   toolkit {statistics.median(second):7.3f} s"
            f"   ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--objects", type=int, default=8, help="an image")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=["train", "inference"])
    arguments = parser.parse_args()
    torch.manual_seed(0)
    size = (arguments.height, arguments.width)
    theirs, ours = build(size, arguments.device)
    batch, images, targets = make_data(size, arguments.batch, arguments.objects, arguments.device)

    def step(model: torch.nn.Module, losses: Callable[[], dict[str, torch.Tensor]]) -> Callable[[], object]:
        def run() -> None:
            model.zero_grad(set_to_none=True)
            sum(losses().values()).backward()

        return run

    def their_inference() -> None:
        with torch.inference_mode():
            theirs(images)

    if arguments.only != "inference":
        theirs.train(), ours.train()
        first, second = step(theirs, lambda: theirs(images, targets)), step(ours, lambda: ours.loss(batch))
        compare("training", first, second, arguments.repeat, arguments.device)
    if arguments.only != "train":
        theirs.eval(), ours.eval()
        compare("inference", their_inference, lambda: ours.predict(batch), arguments.repeat, arguments.device)


if __name__ == "__main__":
    main()
