"""`export --to torchvision, timm, smp`: the written file is read by their own nets, strictly, and these answer alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from toolkit.config.load import parse_config
from toolkit.config.plain import to_yaml
from toolkit.errors import PartsError
from toolkit.jobs.build import build_model
from toolkit.jobs.export_weights import run_export_weights
from toolkit.models.vision_model import VisionModel
from toolkit.models.weights import save_weights

DATA = """
data: {classes: [a, b, c], root: nowhere, train: {dataset: {name: shapes, split: train}}}
train: {steps: 1, optimizer: {name: sgd, lr: 1}}
"""
SMP = (
    "backbone: {name: smp, encoder: resnet18%s}, neck: {name: smp, decoder: %s}, head: {name: pixel, kernel_size: %d%s}"
)


def random_file(folder: Path, model: str) -> tuple[Path, VisionModel]:
    """A weights file of a config's model with random weights, and the model."""
    config = parse_config(f"model: {{{model}}}{DATA}", "model.yaml")
    torch.manual_seed(0)
    built = build_model(config, pretrained=False).eval()
    save_weights(
        folder / "best.safetensors", built.state_dict(), {"config": to_yaml(config), "classes": ["a", "b", "c"]}
    )
    return folder / "best.safetensors", built


def theirs(found: dict[str, Any], **library: Any) -> torch.nn.Module:
    """The net that the answer's line builds, with the file's weights, all of them and no more."""
    net = eval(found["net"], library)
    net.load_state_dict(load_file(found["file"]), strict=True)
    return net.eval()


def test_a_classifier_for_torchvision(tmp_path: Path) -> None:
    import torchvision

    file, model = random_file(tmp_path, "backbone: {name: resnet, depth: 18}, head: {name: image}")
    found = run_export_weights(file, "torchvision")
    assert found["parity"]["ok"]
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        other = theirs(found, torchvision=torchvision)(model.normalise(pixels))
        torch.testing.assert_close(other, model(pixels), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_classifier_for_timm(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    file, model = random_file(tmp_path, "backbone: {name: resnet, depth: 18}, head: {name: image}")
    found = run_export_weights(file, "timm")
    assert found["parity"]["ok"]
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(theirs(found, timm=timm)(model.normalise(pixels)), model(pixels), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_detector_for_torchvision(tmp_path: Path) -> None:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    file, model = random_file(tmp_path, "backbone: {name: resnet, depth: 18}, neck: {name: fpn}, head: {name: rcnn}")
    found = run_export_weights(file, "torchvision")
    assert found["parity"]["ok"]
    net = theirs(found, FasterRCNN=FasterRCNN, resnet_fpn_backbone=resnet_fpn_backbone)
    mine = model.state_dict()["head.roi.classes.weight"]
    torch.testing.assert_close(net.state_dict()["roi_heads.box_predictor.cls_score.weight"], mine)


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts",
    [
        ("", "unet", 3, ""), (", depth: 4, in_channels: 1", "unet, strides: [2, 4, 8, 16]", 3, ""),
        ("", "unet, attention: scse", 3, ""),
        ("", "unetplusplus, channels: [64, 32, 16, 16, 8]", 3, ""), ("", "linknet", 1, ""),
        ("", "fpn, channels: [64]", 1, ", upsample: ends"), (", output_stride: 16", "deeplabv3plus", 1, ", upsample: ends"),
        (", depth: 3", "pspnet", 3, ", upsample: ends"), ("", "manet", 3, ""), ("", "upernet", 1, ", upsample: ends"),
    ],
)  # fmt: skip
def test_a_net_for_smp(tmp_path: Path, parts: tuple) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    file, model = random_file(tmp_path, SMP % parts)
    found = run_export_weights(file, "smp")
    assert found["parity"]["ok"], found
    assert found["note"] is None
    pixels = torch.rand(2, model.in_channels, 96, 64)
    image = (pixels[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    with torch.no_grad():
        labels = theirs(found, smp=smp)(model.normalise(torch.from_numpy(image).permute(2, 0, 1)[None])).argmax(1)[0]
    assert (torch.as_tensor(model.predict(image)[0].numpy()) == labels).float().mean() > 0.999


@pytest.mark.slow
def test_another_upsampling_is_said(tmp_path: Path) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    file, _ = random_file(tmp_path, SMP % ("", "fpn", 1, ""))
    found = run_export_weights(file, "smp")
    assert found["parity"]["ok"]
    assert "model.head.upsample=half_pixel" in found["note"]


@pytest.mark.slow
def test_a_net_that_takes_the_weights_and_answers_otherwise_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    # Theirs dilates the encoder, which ours was not: the same tensors, another answer.
    file, _ = random_file(tmp_path, SMP % ("", "deeplabv3", 1, ", upsample: ends"))
    found = run_export_weights(file, "smp")
    assert found["parity"]["max_logit"] > 1e-2
    assert not found["parity"]["ok"]
    assert json.dumps(found)


def test_a_net_of_other_parts_is_refused_by_name(tmp_path: Path) -> None:
    file, _ = random_file(tmp_path, "backbone: {name: unet_encoder, width: 4}, neck: {name: skip}, head: {name: pixel}")
    with pytest.raises(PartsError, match="torchvision has no net of these parts: unet_encoder, skip, pixel"):
        run_export_weights(file, "torchvision")
