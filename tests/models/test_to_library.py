"""Weights written for torchvision, timm and smp: their own nets load them strictly and give the same logits."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

import toolkit
from toolkit.contracts import BACKBONES, HEADS, NECKS
from toolkit.errors import PartsError
from toolkit.models.to_library import library_state
from toolkit.models.vision_model import VisionModel


def same(model: VisionModel, part: str, theirs: nn.Module) -> None:
    theirs.load_state_dict(library_state(model, part, theirs, "theirs"), strict=True)
    pixels = torch.rand(2, model.in_channels, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mine, other = model.eval()(pixels), theirs.eval()(model.normalise(pixels))
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_a_classifier_is_torchvisions() -> None:
    torch.manual_seed(0)
    same(toolkit.classifier("resnet18", num_classes=3), "resnet", torchvision.models.resnet18(num_classes=3))


@pytest.mark.slow
def test_a_classifier_is_timms() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    same(toolkit.classifier("resnet18", num_classes=3), "resnet", timm.create_model("resnet18", num_classes=3))


@pytest.mark.slow
def test_a_net_of_smps_parts_is_smps() -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    backbone = BACKBONES.find("smp")("resnet18")
    neck = NECKS.find("smp")(backbone.spec, decoder="unet")
    model = VisionModel(backbone, neck, HEADS.find("pixel")(neck.spec, 3, kernel_size=3), ("a", "b", "c"))
    same(model, "smp", smp.Unet("resnet18", encoder_weights=None, classes=3))


def test_a_net_that_is_not_theirs_is_refused_with_what_it_lacks() -> None:
    model = toolkit.classifier("resnet18", num_classes=3)
    with pytest.raises(PartsError, match="nothing for"):
        library_state(model, "resnet", torchvision.models.resnet34(num_classes=3), "torchvision's resnet34")
