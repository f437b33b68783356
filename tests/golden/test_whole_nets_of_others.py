"""Nets of segmentation-models-pytorch and torchvision, random numbers in all tensors, loaded by `model.init_from` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torchvision.models import detection

from toolkit.config.load import parse_config
from toolkit.jobs.build import build_model
from toolkit.jobs.restore import initialise
from toolkit.ops.resize import upsample
from toolkit.samples import Detections, Sample, collate

SMP: dict[str, tuple[Any, dict[str, Any], str, str, str]] = {
    # decoder: class, its arguments, more of backbone, neck and head
    "unet": (smp.Unet, {}, "", "", "kernel_size: 3"),
    "unet scse": (smp.Unet, {"decoder_attention_type": "scse"}, "", ", attention: scse", "kernel_size: 3"),
    "unetplusplus": (smp.UnetPlusPlus, {}, "", "", "kernel_size: 3"),
    "manet": (smp.MAnet, {}, "", "", "kernel_size: 3"),
    "linknet": (smp.Linknet, {}, "", "", "kernel_size: 1"),
    "fpn": (smp.FPN, {}, "", "", "upsample: ends"),
    "pspnet": (smp.PSPNet, {}, ", depth: 3", "", "kernel_size: 3, upsample: ends"),
    "deeplabv3": (smp.DeepLabV3, {}, ", output_stride: 8", "", "upsample: ends"),
    "deeplabv3plus": (smp.DeepLabV3Plus, {}, ", output_stride: 16", "", "upsample: ends"),
    "pan": (smp.PAN, {}, ", output_stride: 16", ", strides: [4, 8, 16, 16]", "kernel_size: 3, upsample: ends"),
    "upernet": (smp.UPerNet, {}, "", "", "upsample: ends"),
    "segformer": (smp.Segformer, {}, "", ", strides: [2, 4, 8, 16, 32]", "upsample: ends"),
}
QUICK = ("unet", "deeplabv3plus")
"""A net whose map has every pixel, and one whose is enlarged; the others are slow tests."""

SMP_CONFIG = """
model:
  backbone: {{name: smp, encoder: {encoder}{backbone}}}
  neck: {{name: smp, decoder: {decoder}{neck}}}
  head: {{name: pixel, {head}}}
  init_from: {file}
data: {{classes: {classes}, train: {{dataset: {{name: image_masks, root: ., images: a, masks: b}}}}}}
train: {{steps: 1, optimizer: {{name: sgd, lr: 0.1}}}}
"""


def randomised(net: torch.nn.Module) -> torch.nn.Module:
    """Statistics and shifts drawn too, mildly, so that every tensor in a wrong place shows."""
    torch.manual_seed(4)
    for name, tensor in net.state_dict().items():
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.uniform_(0.8, 1.2) if name.endswith(("var", "weight")) else tensor.uniform_(-0.1, 0.1)
    return net.eval()


def started(text: str) -> Any:
    config = parse_config(text, "mine.yaml")
    model = build_model(config, pretrained=False)
    taken = initialise(model, config)
    assert taken is not None
    assert not taken.missing
    assert not taken.unused
    return model.eval()


def normalised(model: Any, images: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in model.pixel_stats[:2])
    return (images - mean) / std


@pytest.mark.parametrize("case", [pytest.param(case, marks=() if case in QUICK else pytest.mark.slow) for case in SMP])
def test_logits_are_smps(case: str, tmp_path: Path) -> None:
    make, arguments, backbone, neck, head = SMP[case]
    theirs = randomised(make("resnet18", encoder_weights=None, classes=3, **arguments))
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    filled = {"encoder": "resnet18", "decoder": case.split()[0], "backbone": backbone, "neck": neck, "head": head}
    ours = started(SMP_CONFIG.format(**filled, classes="[a, b, c]", file=tmp_path / "net.pth"))
    for size in ((128, 160), (160, 128)) if case == "pan" else ((64, 96), (96, 64)):
        images = torch.rand(1, 3, *size)
        with torch.no_grad():
            wanted = theirs(normalised(ours, images))
            found = upsample(ours(images), ours.head.stride, size, ours.head.grid)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))
        image = (255 * images[0]).round().byte().permute(1, 2, 0).numpy()
        labels = ours.predict(collate([Sample(image, "a.png", 0, size)]))[0].labels
        with torch.no_grad():
            best = theirs(normalised(ours, torch.from_numpy(image).permute(2, 0, 1)[None] / 255))[0]
        unsure = best.topk(2, 0).values.diff(dim=0)[0].abs() < 1e-3 * best.abs().max()
        assert bool(((labels == best.argmax(0)) | unsure).all())


def test_one_output_a_pixel_becomes_background_and_object(tmp_path: Path) -> None:
    theirs = randomised(smp.Unet("resnet18", encoder_weights=None, classes=1))
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    filled = {"encoder": "resnet18", "decoder": "unet", "backbone": "", "neck": "", "head": "kernel_size: 3"}
    ours = started(SMP_CONFIG.format(**filled, classes="[background, thing]", file=tmp_path / "net.pth"))
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            ours(images).softmax(1)[:, 1:], theirs(normalised(ours, images)).sigmoid(), rtol=0, atol=1e-4
        )


def test_an_encoder_goes_into_this_toolkits_own_backbone(tmp_path: Path) -> None:
    """smp's resnet18 has torchvision's tensors, and so has the backbone `resnet`."""
    theirs = randomised(smp.FPN("resnet18", encoder_weights=None, classes=3))
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    text = SMP_CONFIG.format(
        encoder="", decoder="fpn", backbone="", neck="", head="upsample: ends", classes="[a, b, c]",
        file=tmp_path / "net.pth",
    ).replace("{name: smp, encoder: }", "{name: resnet, depth: 18}")  # fmt: skip
    ours, images = started(text), torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        wanted = theirs(normalised(ours, images))
        found = upsample(ours(images), 4, (64, 96), "ends")
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


DETECTORS = {
    "resnet50": (detection.fasterrcnn_resnet50_fpn, """
  backbone: {name: resnet, depth: 50, norm: batch}
  neck: {name: fpn}
  head: {name: rcnn, rpn: {anchors: {style: torchvision}}}"""),
    "mobilenet": (detection.fasterrcnn_mobilenet_v3_large_fpn, """
  backbone: {name: mobilenet_v3, norm: batch, bn_eps: 1.0e-05}
  neck: {name: fpn, strides: [32, 32]}
  head: {name: rcnn, rpn: {anchors: {style: torchvision, unit: pixels, scales: [32, 64, 128, 256, 512]}}}"""),
}  # fmt: skip


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blobs and edges of many sizes."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8) // 4
    for _ in range(30):
        y, x = rng.integers(0, height - 8), rng.integers(0, width - 8)
        image[y : y + height // 3, x : x + width // 4] = rng.integers(0, 256, 3)
    return image


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case == "resnet50" else case for case in DETECTORS]
)
def test_detections_are_torchvisions(case: str, tmp_path: Path) -> None:
    make, text = DETECTORS[case]
    theirs: Any = randomised(make(weights=None, weights_backbone=None, num_classes=4))
    theirs.transform.resize = lambda image, target: (image, target)
    with torch.no_grad():  # random blocks add up and a random head says nothing: softer, and louder
        for name, module in theirs.backbone.body.named_modules():
            if name.endswith("bn3"):
                module.weight.mul_(0.2)
        theirs.rpn.head.cls_logits.weight.mul_(20)
        theirs.roi_heads.box_predictor.cls_score.weight.mul_(60)
        theirs.roi_heads.box_predictor.bbox_pred.weight.mul_(5)
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    ours = started(f"""
model:{text}
  init_from: {tmp_path / "net.pth"}
data: {{classes: [a, b, c], train: {{dataset: {{name: coco, root: ., annotations: a.json, images: b}}}}}}
train: {{steps: 1, optimizer: {{name: sgd, lr: 0.1}}}}
""")
    for size in ((128, 160), (107, 151)):
        image = picture(*size)
        with torch.no_grad():
            wanted = theirs([torch.from_numpy(image).permute(2, 0, 1) / 255])[0]
        found = ours.predict(collate([Sample(image, "a.png", 0, size)]))[0]
        assert isinstance(found, Detections)
        assert len(wanted["boxes"]) >= 5
        torch.testing.assert_close(found.scores, wanted["scores"], atol=1e-4, rtol=0)
        torch.testing.assert_close(found.boxes, wanted["boxes"], atol=1e-2, rtol=1e-4)
        assert found.labels.tolist() == (wanted["labels"] - 1).tolist()


def test_frozen_batch_norm_without_epsilon_is_the_same_net_with_other_tensors() -> None:
    from torchvision.ops import FrozenBatchNorm2d

    from toolkit.models.torchvision_weights import without_epsilon

    torch.manual_seed(0)
    norm = FrozenBatchNorm2d(8)
    norm.running_var.uniform_(1e-9, 1e-3)
    norm.running_mean.normal_(), norm.bias.normal_(), norm.weight.normal_()
    ours = FrozenBatchNorm2d(8)
    ours.load_state_dict(norm.state_dict())
    norm.eps, maps = 0.0, torch.randn(1, 8, 3, 3)
    without_epsilon(ours)
    torch.testing.assert_close(ours(maps), norm(maps), rtol=1e-5, atol=1e-5)


def test_weights_that_torchvision_publishes_bring_their_classes_and_their_epsilon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """COCO_V1 by its name, the file being a random net of the same shapes: rows by COCO's names, eps 0 as torchvision sets."""
    net: Any = randomised(detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None))
    for module in net.backbone.body.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-30  # not 0, which torch 2.11 refuses: added to a variance it is the same
    monkeypatch.setattr("toolkit.jobs.start_from.read_any_weights", lambda name: dict(net.state_dict()))
    ours = started("""
model:
  backbone: {name: resnet, depth: 50, norm: frozen_batch}
  neck: {name: fpn}
  head: {name: rcnn}
  init_from: FasterRCNN_ResNet50_FPN_Weights.COCO_V1
data: {classes: [dog, person, unicorn], train: {dataset: {name: coco, root: ., annotations: a.json, images: b}}}
train: {steps: 1, optimizer: {name: sgd, lr: 0.1}}
""")
    categories = detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    rows = net.roi_heads.box_predictor.cls_score.weight
    assert torch.equal(ours.head.roi.classes.weight[1], rows[categories.index("dog")])
    assert torch.equal(ours.head.roi.classes.weight[2], rows[categories.index("person")])
    assert ours.head.setting("rpn.anchors.style") == "torchvision"
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        wanted = list(net.backbone.body(images).values())
        for found, theirs in zip(ours.backbone(images).maps[1:], wanted, strict=True):
            torch.testing.assert_close(found, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))
    assert "github.com/pytorch/vision" in ours.backbone.origin
