"""The nets of one line are those that the shipped configs describe, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from functools import partial
from pathlib import Path

import pytest
import torch

import toolkit
from toolkit.config.load import load_config
from toolkit.errors import ConfigError
from toolkit.jobs.build import build_model
from toolkit.models.vision_model import VisionModel

CONFIGS = Path(__file__).resolve().parents[1] / "configs"

# Parameters: SegNet-Tutorial's and dilation's prototxts, py-faster-rcnn's and torchvision's files, counted layer by layer.
NETS = [
    ("segnet_camvid", partial(toolkit.segnet, 11), 29_449_355),
    ("bayesian_segnet_camvid", partial(toolkit.segnet, 11, samples=4), 29_449_355),
    ("segnet_basic_camvid", partial(toolkit.segnet_basic, 11), 1_416_587),
    ("unet_em", partial(toolkit.unet, num_classes=2), 31_030_658),
    ("unet_resnet34_camvid", partial(toolkit.unet, "resnet34", num_classes=11), 24_437_819),
    ("dilated_frontend_voc", partial(toolkit.dilated, 21, context="none"), 134_346_581),
    ("dilated_context_voc", partial(toolkit.dilated, 21), 141_149_720),
    ("dilated_context_camvid", partial(toolkit.dilated, 11, context="basic"), 134_313_443),
    ("dilated_context_kitti", partial(toolkit.dilated, 11, context="basic", layers=7), 134_312_343),
    ("dilated_context_cityscapes", partial(toolkit.dilated, 19, context="basic", layers=10), 134_368_179),
    ("faster_rcnn_vgg16_voc", partial(toolkit.faster_rcnn, "vgg16", 20), 137_078_239),
    ("faster_rcnn_r50_fpn_coco", partial(toolkit.faster_rcnn, "resnet50", 80), 41_704_036),
    ("classify/lenet5", partial(toolkit.classifier, "lenet5", 10), 61_706),
    ("classify/alexnet", partial(toolkit.classifier, "alexnet", 1000), 61_100_840),
    ("classify/vgg16", partial(toolkit.classifier, "vgg16", 1000), 138_357_544),
    ("classify/vgg16_bn", partial(toolkit.classifier, "vgg16_bn", 1000), 138_365_992),
    ("classify/googlenet", partial(toolkit.classifier, "googlenet", 1000), 13_004_888),
    ("classify/resnet18", partial(toolkit.classifier, "resnet18", 1000), 11_689_512),
    ("classify/resnet50", partial(toolkit.classifier, "resnet50", 1000), 25_557_032),
    ("classify/densenet121", partial(toolkit.classifier, "densenet121", 1000), 7_978_856),
]

OTHERWISE = {"faster_rcnn_r50_fpn_coco": ["model.head.rpn.anchors.style=stride"]}
"""Where a config is a peer's recipe to the letter, and the net keeps our default: torchvision's rule for anchors."""


@pytest.mark.parametrize(("config", "net", "parameters"), NETS, ids=[name for name, _, _ in NETS])
def test_a_net_of_one_line_is_the_config(config: str, net: Callable[[], VisionModel], parameters: int) -> None:
    with torch.device("meta"):
        ours = net()
        theirs = build_model(load_config(CONFIGS / f"{config}.yaml", OTHERWISE.get(config, ())), pretrained=False)
    assert sum(weight.numel() for weight in ours.parameters() if not _is_fixed(ours, weight)) == parameters
    shapes = {name: tuple(tensor.shape) for name, tensor in ours.state_dict().items()}
    assert shapes == {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}
    assert _settings(ours) == _settings(theirs)


_LEFT = ("training", "_frozen_stages")
"""Not compared: the mode, and stages that the config freezes because it names weights for them."""


def _is_fixed(model: VisionModel, weight: torch.Tensor) -> bool:
    """A bilinear kernel that is never trained counts nowhere as a parameter."""
    return any(weight is own for own in getattr(model.head, "upsampling", torch.nn.Identity()).parameters())


def _settings(model: VisionModel) -> dict[str, object]:
    """What the parts compute with, besides their weights, and cannot be told from shapes."""
    modules = {name: module for name, module in model.named_modules() if name and "loss_function" not in name}
    kept: dict[str, object] = {name: type(module).__name__ for name, module in modules.items()}
    for name, module in modules.items():
        own = {key: value for key, value in vars(module).items() if key not in _LEFT and _is_plain(value)}
        kept |= {f"{name}.{key}": value for key, value in own.items()}
    return kept | {"stats": model.pixel_stats, "samples": model.samples, "sizes": model.spec.sizes}


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return is_dataclass(value) or isinstance(value, (bool, int, float, str))


def test_classes_have_names() -> None:
    model = toolkit.segnet_basic(classes="camvid11")
    assert model.classes[:2] == ("Sky", "Building")
    assert toolkit.segnet_basic(3).classes == ("0", "1", "2")
    assert toolkit.segnet_basic(classes=["road", "sky"]).num_classes == 2


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (partial(toolkit.segnet), "nothing says how many classes"),
        (partial(toolkit.segnet, 3, classes=["a", "b"]), "is 3, but `classes` names 2"),
        (partial(toolkit.unet, "resnet43", 2), "no backbone is called 'resnet43'; did you mean 'resnet34'"),
        (partial(toolkit.classifier, "vgg7", 2), "no backbone is called 'vgg7'"),
    ],
)
def test_what_is_wrong_is_said(net: Callable[[], VisionModel], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        net()
    assert said in str(caught.value)


def test_other_backbones_serve_too() -> None:
    model = toolkit.unet("densenet121", 4).eval()
    assert len(model.predict(torch.zeros(2, 3, 40, 50, dtype=torch.uint8))) == 2
    found = toolkit.faster_rcnn("timm:resnet18", 2).eval().predict(torch.zeros(3, 64, 64, dtype=torch.uint8))
    assert type(found[0]).__name__ == "Detections"
