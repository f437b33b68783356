"""Whole classifiers give torchvision's answers from torchvision's own files, without a download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import toolkit.backbones
import toolkit.heads  # noqa: F401  registers
from toolkit.contracts import BACKBONES, HEADS, Backbone, Head

models = pytest.importorskip("torchvision.models")

FC = {"hidden": [4096, 4096]}
Case = tuple[str, dict[str, Any], str, dict[str, Any], dict[str, Any], int]
CASES: list[Any] = [
    pytest.param(
        ("alexnet", {}, "alexnet", {}, {"grid": 6, "dropout": [0.5, 0.5, 0.0], **FC}, 97), marks=pytest.mark.slow
    ),
    ("googlenet", {"aux_logits": False, "init_weights": False}, "googlenet", {}, {"dropout": [0.2]}, 97),
    pytest.param(("resnet50", {}, "resnet", {"depth": 50}, {}, 97), marks=pytest.mark.slow),
    ("densenet121", {}, "densenet", {"depth": 121}, {}, 97),
    pytest.param(
        ("vgg16_bn", {}, "vgg", {"depth": 16, "batch_norm": True}, {"grid": 7, "dropout": [0.0, 0.5, 0.5], **FC}, 64),
        marks=pytest.mark.slow,
    ),
]
CLASSES = 7


def shaken(net: nn.Module) -> nn.Module:
    """Running statistics and biases that are not their starting values, so that nothing can be left out unnoticed."""
    generator = torch.Generator().manual_seed(5)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(0.1 * torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return net.eval()


def build(path: Path, backbone: str, arguments: dict[str, Any], head: dict[str, Any]) -> tuple[Backbone, Head]:
    if backbone not in BACKBONES.names():
        pytest.skip(f"backbone '{backbone}' is not there")
    torch.manual_seed(9)
    ours = BACKBONES.find(backbone)(weights=str(path), **arguments).eval()  # type: ignore[call-arg]
    return ours, HEADS.find("image")(ours.spec, CLASSES, weights=str(path), **head).eval()  # type: ignore[call-arg]


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_logits_are_torchvisions(case: Case, tmp_path: Path) -> None:
    name, extra, backbone, arguments, head, size = case
    theirs = shaken(models.get_model(name, weights=None, num_classes=CLASSES, **extra))
    path = tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), path)
    our_backbone, our_head = build(path, backbone, arguments, head)
    images = torch.randn(2, 3, size, size + 10)
    with torch.no_grad():
        assert difference(our_head(our_backbone(images)), theirs(images)) < 1e-5


def test_googlenet_trains_its_auxiliary_classifiers_as_torchvision_does(tmp_path: Path) -> None:
    theirs = shaken(models.googlenet(weights=None, num_classes=CLASSES, init_weights=False))
    path = tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), path)
    backbone, head = build(path, "googlenet", {"auxiliary": True}, {"auxiliary": "norm"})
    images = torch.randn(2, 3, 97, 107)
    features: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: features.update({name: output})

    # In evaluation torchvision does not run them at all, in training they drop units: so their parts are called.
    theirs.inception4a.register_forward_hook(keep("aux1"))
    theirs.inception4d.register_forward_hook(keep("aux2"))
    with torch.no_grad():
        theirs(images)
        wanted = [theirs.aux1(features["aux1"]), theirs.aux2(features["aux2"])]
        found = head.auxiliary(backbone(images))
    assert [difference(a, b) < 1e-5 for a, b in zip(found, wanted, strict=True)] == [True, True]


def test_googlenets_pixels_are_scaled_as_its_published_weights_expect() -> None:
    theirs = models.googlenet(weights=None, aux_logits=False, init_weights=False, transform_input=True).eval()
    ours = BACKBONES.find("googlenet")().pixel_stats  # type: ignore[call-arg]
    images = torch.rand(1, 3, 8, 8)
    channels = (1, 3, 1, 1)
    imagenet = (images - torch.tensor([0.485, 0.456, 0.406]).view(channels)) / torch.tensor([0.229, 0.224, 0.225]).view(
        channels
    )
    scaled = (images - torch.tensor(ours.mean).view(channels)) / torch.tensor(ours.std).view(channels)
    torch.testing.assert_close(scaled, theirs._transform_input(imagenet), rtol=0, atol=1e-6)
