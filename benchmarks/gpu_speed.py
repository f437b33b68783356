"""What `gpu_records.py` times: four nets, the ways of training them, peers of the same size, and a chip's peak.

Everything runs on a CPU, too, at toy size: so it is known to run before a GPU is at hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import toolkit
from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.engine.prepare import trained_groups, trained_module
from toolkit.engine.process import make_fabric
from toolkit.engine.settings import TrainSettings
from toolkit.heads.pixel import PixelHead
from toolkit.heads.rcnn import RcnnHead
from toolkit.heads.roi import RoiSettings
from toolkit.heads.rpn import AnchorSettings, ProposalSettings, RpnSettings
from toolkit.losses.cross_entropy import CrossEntropy
from toolkit.models.vision_model import VisionModel
from toolkit.necks.fpn import FPN
from toolkit.necks.skip import SkipNeck
from toolkit.samples import Batch, Boxes, Sample, collate

Step = Callable[[], object]

PEAKS = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "L4": 121e12, "L40S": 362e12, "V100": 125e12, "T4": 65e12,
         "A10": 125e12, "4090": 165e12}  # fmt: skip
"""Dense bf16 (V100 and T4: fp16) multiply-add operations a second, two a multiply-add, of NVIDIA's data sheets."""

WAYS: dict[str, dict[str, Any]] = {
    "bf16, channels last": {"precision": "bf16-mixed", "channels_last": True},
    "fp16, channels last": {"precision": "16-mixed", "channels_last": True},
    "bf16": {"precision": "bf16-mixed"},
    "tf32": {},
    "float32": {"tf32": False},
}
"""The toolkit's training step with settings of `train:`, the most telling first: time may run out."""
COMPILED = {"bf16, channels last, compiled": {"precision": "bf16-mixed", "channels_last": True, "compile": True}}


@dataclass(frozen=True)
class Net:
    """A net that is timed.

    Attributes:
        ours: makes it.
        size: height and width of its images.
        small: the same for what is checked and not timed.
        batch: images a step.
        channels: of an image.
        classes: how many.
        boxes: whether it learns boxes.
        peers: names of others' nets of the same shape, and what makes each for images of a size.
        published: what others state, with the chip.
    """

    ours: Callable[[], VisionModel]
    size: tuple[int, int]
    small: tuple[int, int]
    batch: int
    channels: int = 3
    classes: int = 11
    boxes: bool = False
    peers: dict[str, Callable[[tuple[int, int]], nn.Module]] = field(default_factory=dict)
    published: str = ""


def smp_unet(size: tuple[int, int]) -> nn.Module:
    import segmentation_models_pytorch as smp

    return smp.Unet("resnet34", encoder_weights=None, classes=11)


def torchvision_faster_rcnn(size: tuple[int, int]) -> nn.Module:
    from torchvision.models.detection import fasterrcnn_resnet50_fpn
    from torchvision.ops import FrozenBatchNorm2d

    # As ours: frozen statistics, everything trained, images as they are.
    return fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=81, trainable_backbone_layers=5, norm_layer=FrozenBatchNorm2d,
        min_size=min(size), max_size=max(size),
    )  # fmt: skip


NETS: dict[str, Net] = {
    "segnet_vgg16": Net(lambda: toolkit.segnet(num_classes=11, loss=CrossEntropy()), (360, 480), (32, 64), 16),
    "unet_2015": Net(
        lambda: toolkit.unet(num_classes=2), (572, 572), (204, 204), 8, channels=1, classes=2,
        published="119 images/s, training with automatic mixed precision on one A100 80 GB (NVIDIA, UNet_Medical)",
    ),
    "unet_resnet34": Net(
        lambda: toolkit.unet("resnet34", num_classes=11, loss=CrossEntropy()), (384, 480), (64, 64), 16,
        peers={"segmentation-models-pytorch": smp_unet},
    ),
    "r50_fpn": Net(
        lambda: toolkit.faster_rcnn("resnet50", num_classes=80), (800, 1333), (96, 128), 4, classes=80, boxes=True,
        peers={"torchvision": torchvision_faster_rcnn},
    ),
}  # fmt: skip


def toy_segmentation() -> VisionModel:
    backbone = UNetEncoder(in_channels=3, width=4, depth=3, padding="same", norm="batch", dropout=0.0)
    neck = SkipNeck(backbone.spec, norm="batch")
    return VisionModel(backbone, neck, PixelHead(neck.spec, 11), [str(label) for label in range(11)])


def toy_detection() -> VisionModel:
    backbone = UNetEncoder(in_channels=3, width=4, depth=3, padding="same", norm="batch", dropout=0.0)
    neck = FPN(backbone.spec, strides=[2, 4], channels=8, extra="none")
    rpn = RpnSettings(AnchorSettings(scales=(4.0,)), ProposalSettings(40, 20, 40, 10), samples=16)
    head = RcnnHead(neck.spec, 11, rpn=rpn, roi=RoiSettings(hidden=16, samples=8))
    return VisionModel(backbone, neck, head, [str(label) for label in range(11)])


def toy_smp(size: tuple[int, int]) -> nn.Module:
    import segmentation_models_pytorch as smp

    return smp.Unet("mobilenet_v2", encoder_weights=None, classes=11)


TOY_NETS: dict[str, Net] = {
    "segmentation": Net(toy_segmentation, (32, 32), (32, 32), 2, peers={"segmentation-models-pytorch": toy_smp}),
    "detection": Net(toy_detection, (32, 48), (32, 48), 2, boxes=True),
}
"""What `--toy` runs in their place, on a CPU in seconds."""


def batch_of(net: Net, number: int, size: tuple[int, int], device: torch.device) -> Batch:
    """Random pictures with labels, or with eight boxes each."""
    random = np.random.default_rng(0)
    samples = []
    for place in range(number):
        image = random.integers(0, 256, (*size, net.channels)).astype(np.uint8)
        labels = None if net.boxes else random.integers(0, net.classes, size).astype(np.uint8)
        corners = random.uniform(0, 0.7, (8, 2)) * [size[1], size[0]]
        ends = np.minimum(corners + random.uniform(8, min(size) / 3, (8, 2)), [size[1], size[0]])
        boxes = Boxes.of(np.concatenate((corners, ends), 1), random.integers(0, net.classes, 8)) if net.boxes else None
        samples.append(Sample(image, f"{place}", place, size, labels, boxes))
    batch = collate(samples)
    moved = {name: value.to(device) for name, value in batch._asdict().items()
             if isinstance(value, torch.Tensor) and "size" not in name}  # fmt: skip
    boxes = None if batch.boxes is None else tuple(Boxes(*(part.to(device) for part in each)) for each in batch.boxes)
    return batch._replace(**moved, boxes=boxes)


def our_step(model: VisionModel, batch: Batch, options: dict[str, Any], device: torch.device) -> Step:
    """The toolkit's step through Fabric: forward, loss, backward, fused AdamW; settings as in a config's `train:`."""
    settings = TrainSettings(steps=1, device=device.type, **options)  # type: ignore[arg-type]
    fabric = make_fabric(settings)
    module = trained_module(fabric, model, settings)
    groups = trained_groups(model, 1e-4, settings)
    module, optimizer = fabric.setup(module, torch.optim.AdamW(groups, 1e-4, fused=True))

    def step() -> None:
        loss = torch.stack(list(module(batch).values())).sum()
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def bare_step(net: nn.Module, loss: Callable[[], torch.Tensor]) -> Step:
    """A bare loop in bf16, channels last, with fused AdamW: what a careful person writes around someone's net."""
    parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, 1e-4, fused=True)
    kind = parameters[0].device.type

    def step() -> None:
        with torch.autocast(kind, torch.bfloat16):
            total = loss()
        total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def bare_ours(model: VisionModel, batch: Batch, device: torch.device) -> Step:
    """Our net in the bare loop: what Fabric and the settings cost."""
    model.train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    lying = batch._replace(images=batch.images.contiguous(memory_format=torch.channels_last))
    return bare_step(model, lambda: torch.stack(list(model.loss(lying).values())).sum())


def peer_step(net: Net, theirs: nn.Module, batch: Batch, device: torch.device) -> Step:
    """Their net in the bare loop, with their own losses where they have some, else cross-entropy."""
    theirs.train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if net.boxes:
        targets = [{"boxes": each.xyxy, "labels": each.labels + 1} for each in batch.boxes or ()]
        return bare_step(theirs, lambda: sum(theirs([image.float() / 255 for image in batch.images], targets).values()))
    assert batch.label_maps is not None
    labels = batch.label_maps

    def loss() -> torch.Tensor:
        images = batch.images.contiguous(memory_format=torch.channels_last).float() / 255
        return nn.functional.cross_entropy(theirs(images), labels.long(), ignore_index=255)

    return bare_step(theirs, loss)


def synchronise(device: torch.device) -> None:
    """Waits until the device has done what was launched."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_a_step(step: Step, device: torch.device, seconds: float) -> tuple[float, int]:
    """(median seconds of a step of three runs, peak bytes), warmed up; the runs take `seconds` together, or three steps."""
    for _ in range(3 if device.type == "cuda" else 1):
        step()
    synchronise(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    began = time.perf_counter()
    step()
    synchronise(device)
    at_once = max(1, int(seconds / 3 / (time.perf_counter() - began)))
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(at_once):
            step()
        synchronise(device)  # once for all of them: the host may run ahead, as in a training
        taken.append((time.perf_counter() - began) / at_once)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return float(np.median(taken)), peak


def operations_an_image(model: VisionModel, batch: Batch) -> float:
    """Floating-point operations of a training step by its images: those of the forward pass three times over."""
    was_training = model.training
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(batch.images)
    model.train(was_training)
    return 3.0 * counter.get_total_flops() / len(batch.images)


def peak_of(device: torch.device, side: int = 8192) -> dict[str, float | None]:
    """Operations a second: of the data sheet, and of the largest product of bf16 matrices that is quickly made."""
    side = side if device.type == "cuda" else 512
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    taken, _ = seconds_a_step(lambda: a @ a, device, 0.5 if device.type == "cuda" else 0.05)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    known = sorted((key for key in PEAKS if key in name), key=len)
    return {"stated": PEAKS[known[-1]] if known else None, "measured": 2.0 * side**3 / taken}
