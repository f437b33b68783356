"""`weights: FILE` of every backbone: files of other libraries with random weights give the maps of their nets.

A backbone that takes `weights` and has no row in `FILES` fails, so a new one brings its row.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision.models
from safetensors.torch import save_file
from torch import Tensor, nn

import toolkit.backbones  # noqa: F401 (registers)
from toolkit.contracts import BACKBONES, Backbone
from toolkit.errors import CheckpointError

Net = Callable[[], nn.Module]
SIZE = (72, 104)


def torchvision_net(name: str) -> Net:
    """Without its classifier, whose hundred million numbers a backbone has not."""

    def make() -> nn.Module:
        with torch.device("meta"):
            net = torchvision.models.get_model(name, weights=None)
        for part in ("classifier", "fc", "aux1", "aux2"):
            if hasattr(net, part):
                setattr(net, part, nn.Linear(2, 3, device="meta"))
        return net.to_empty(device="cpu")

    return make


def timm_net(name: str) -> Net:
    return lambda: timm.create_model(name)


def smp_encoder(name: str) -> Net:
    return lambda: smp.encoders.get_encoder(name, weights=None)


def smp_unet(name: str) -> Net:
    return lambda: smp.Unet(name, encoder_weights=None, decoder_channels=(8, 8, 8, 8, 8))


def last_map(net: Any, images: Tensor) -> Tensor:
    """The last map of a net, by its own library."""
    if isinstance(net, smp.Unet):
        net = net.encoder
    if hasattr(net, "forward_intermediates"):
        return net.forward_intermediates(images, norm=False, intermediates_only=True)[-1]
    if hasattr(net, "out_channels"):
        return net(images)[-1]
    if hasattr(net, "features"):
        return net.features(images)
    for name, module in net.named_children():
        if name not in ("avgpool", "fc", "dropout", "aux1", "aux2"):
            images = module(images)
    return images


FILES: dict[str, list[tuple[dict[str, Any], Net]]] = {
    "alexnet": [({}, torchvision_net("alexnet"))],
    "vgg": [
        ({"depth": 13}, torchvision_net("vgg13")),
        ({"depth": 11, "batch_norm": True}, torchvision_net("vgg11_bn")),
        ({"depth": 11, "batch_norm": True}, smp_unet("vgg11_bn")),
    ],
    "googlenet": [({}, torchvision_net("googlenet"))],
    "resnet": [
        ({"depth": 18}, torchvision_net("resnet18")),
        ({"depth": 18, "norm": "frozen_batch"}, timm_net("resnet18")),
        ({"depth": 18}, smp_encoder("resnet18")),
        ({"depth": 18}, smp_unet("resnet18")),
        ({"depth": 18}, smp_encoder("tu-resnet18")),
    ],
    "mobilenet_v3": [({"variant": "small"}, torchvision_net("mobilenet_v3_small"))],
    "densenet": [({}, torchvision_net("densenet121")), ({}, smp_encoder("densenet121"))],
    "efficientnet_lite": [
        ({}, timm_net("tf_efficientnet_lite0")),
    ],
    "timm": [
        ({"model": "resnet18"}, torchvision_net("resnet18")),
        ({"model": "test_convnext"}, timm_net("test_convnext")),
        ({"model": "resnet18"}, smp_unet("resnet18")),
    ],
    "smp": [
        ({"encoder": "resnet18"}, torchvision_net("resnet18")),
        ({"encoder": "resnet18"}, timm_net("resnet18")),
        ({"encoder": "mit_b0"}, smp_unet("mit_b0")),
        ({"encoder": "tu-test_convnext"}, timm_net("test_convnext")),
        ({"encoder": "mobilenet_v2"}, torchvision_net("mobilenet_v2")),
    ],
}
OWN_NAMES_ALONE: dict[str, dict[str, Any]] = {
    "lenet5": {},
    "segnet_basic_encoder": {},
    "unet_encoder": {"width": 4},
    "maxout": {},
    "pixel_cnn": {"blocks": 1},
    "time_delay": {},
    "wavenet": {"width": 4},
}
"""Nets that no installed library has."""

ROWS = [(name, row) for name, rows in FILES.items() for row in range(len(rows))]
QUICK = {("alexnet", 0), ("vgg", 1), ("googlenet", 0), ("resnet", 0), ("resnet", 3), ("mobilenet_v3", 0), ("densenet", 0),
         ("efficientnet_lite", 0), ("timm", 0), ("timm", 1), ("smp", 0), ("smp", 3)}  # fmt: skip
"""A row for each way in which names differ; the others are slow tests."""


def randomised(net: nn.Module) -> nn.Module:
    """Every number drawn, statistics too: a tensor in a wrong place, or none, shows."""
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            if tensor.ndim > 1:
                tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
            else:
                tensor.uniform_(0.5, 1.5)
    return net.eval()


def test_every_backbone_takes_weights_and_has_a_row() -> None:
    taking = [name for name in BACKBONES.names() if "weights" in inspect.signature(BACKBONES.find(name)).parameters]
    assert sorted(taking) == sorted(BACKBONES.names()) == sorted(FILES.keys() | OWN_NAMES_ALONE.keys())


@pytest.mark.parametrize(
    ("name", "row"),
    [pytest.param(*one, marks=() if one in QUICK else pytest.mark.slow, id=f"{one[0]}-{one[1]}") for one in ROWS],
)
def test_the_maps_are_those_of_the_net(name: str, row: int, tmp_path: Path) -> None:
    torch.manual_seed(row)
    arguments, make = FILES[name][row]
    net = randomised(make())
    torch.save(net.state_dict(), tmp_path / "net.pth")
    backbone = BACKBONES.find(name)(**arguments, weights=str(tmp_path / "net.pth")).eval()
    images = torch.randn(1, 3, backbone.spec.sizes.next_legal(SIZE[0]), backbone.spec.sizes.next_legal(SIZE[1]))
    with torch.no_grad():
        wanted = last_map(net, images)
        wanted = wanted.relu() if name == "densenet" else wanted  # ours ends behind the last ReLU
        found = next(m for m in reversed(backbone(images).maps) if m.shape[1] == wanted.shape[1])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    assert str(tmp_path / "net.pth") in backbone.origin


@pytest.mark.parametrize(
    ("name", "arguments", "make"),
    [
        ("efficientnet_lite", {"variant": 0}, smp_encoder("timm-tf_efficientnet_lite0")),
        ("timm", {"model": "mobilenetv3_small_100"}, torchvision_net("mobilenet_v3_small")),
    ],
    ids=["lite of smp", "mobilenet of torchvision, by order"],
)
def test_tensors_of_a_net_that_pads_or_divides_otherwise(
    name: str, arguments: dict[str, Any], make: Net, tmp_path: Path
) -> None:
    """Where the libraries' nets differ in what is no tensor (padding, eps), the tensors are taken all the same."""
    net = randomised(make())
    torch.save(net.state_dict(), tmp_path / "net.pth")
    backbone = BACKBONES.find(name)(**arguments, weights=str(tmp_path / "net.pth"))
    wanted = [v for k, v in net.state_dict().items() if v.is_floating_point()]
    found = [v for v in backbone.state_dict().values() if v.is_floating_point()]
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=False))


@pytest.mark.parametrize("name", OWN_NAMES_ALONE)
@pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone."])
def test_a_file_with_the_backbones_own_names_behind_any_beginning(name: str, prefix: str, tmp_path: Path) -> None:
    arguments = OWN_NAMES_ALONE[name]
    first: Backbone = randomised(BACKBONES.find(name)(**arguments))  # type: ignore[assignment]
    state = {prefix + key: value for key, value in first.state_dict().items()} | {f"head.{prefix}x": torch.ones(1)}
    save_file(state, tmp_path / "net.safetensors")
    second = BACKBONES.find(name)(**arguments, weights=str(tmp_path / "net.safetensors"))
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())


def caffe_vgg(names: Mapping[str, Tensor]) -> dict[str, Tensor]:
    layers = ["conv1_1", "conv2_1", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv5_1", "conv5_2"]
    return dict(
        zip([f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")], names.values(), strict=True)
    )


def caffe_resnet18(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Written out by hand for one block of two and its shortcut; the rest by the same letters."""
    found = {"conv1.weight": state["conv1.weight"]}
    for kind in ("running_mean", "running_var"):
        found[f"bn_conv1.{kind}"] = state[f"bn1.{kind}"]
    for kind in ("weight", "bias"):
        found[f"scale_conv1.{kind}"] = state[f"bn1.{kind}"]
    for stage in (1, 2, 3, 4):
        for block, letter in enumerate("ab"):
            units = [("2a", "conv1", "bn1"), ("2b", "conv2", "bn2")]
            units += [("1", "downsample.0", "downsample.1")] if stage > 1 and letter == "a" else []
            for branch, convolution, norm in units:
                place, mine = f"{stage + 1}{letter}_branch{branch}", f"layer{stage}.{block}"
                found[f"res{place}.weight"] = state[f"{mine}.{convolution}.weight"]
                for kind in ("running_mean", "running_var"):
                    found[f"bn{place}.{kind}"] = state[f"{mine}.{norm}.{kind}"]
                for kind in ("weight", "bias"):
                    found[f"scale{place}.{kind}"] = state[f"{mine}.{norm}.{kind}"]
    return found | {"fc1000.weight": torch.ones(2, 512), "fc1000.bias": torch.ones(2)}


GOOGLENET = {"1x1": "branch1", "3x3_reduce": "branch2.0", "3x3": "branch2.1", "5x5_reduce": "branch3.0",
             "5x5": "branch3.1", "pool_proj": "branch4.1"}  # fmt: skip


def caffe_googlenet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    stem = {"conv1/7x7_s2": "conv1.conv", "conv2/3x3_reduce": "conv2.conv", "conv2/3x3": "conv3.conv"}
    inside = {f"inception_{module}/{theirs}": f"inception{module}.{mine}.conv"
              for module in ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
              for theirs, mine in GOOGLENET.items()}  # fmt: skip
    return {f"{theirs}.{kind}": state[f"{mine}.{kind}"]
            for theirs, mine in (stem | inside).items() for kind in ("weight", "bias")}  # fmt: skip


def caffe_densenet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {"conv1.weight": state["conv0.weight"]}

    def norm(theirs: str, mine: str) -> None:
        for layer, kinds in (("bn", ("running_mean", "running_var")), ("scale", ("weight", "bias"))):
            found.update({f"{theirs}/{layer}.{kind}": state[f"{mine}.{kind}"] for kind in kinds})

    norm("conv1", "norm0")
    norm("conv5_blk", "norm5")
    for block, layers in enumerate((6, 12, 24, 16), start=1):
        for layer in range(1, layers + 1):
            for number in (1, 2):
                place = f"denseblock{block}.denselayer{layer}"
                norm(f"conv{block + 1}_{layer}/x{number}", f"{place}.norm{number}")
                found[f"conv{block + 1}_{layer}/x{number}.weight"] = state[f"{place}.conv{number}.weight"]
        if block < 4:
            norm(f"conv{block + 1}_blk", f"transition{block}.norm")
            found[f"conv{block + 1}_blk.weight"] = state[f"transition{block}.conv.weight"]
    return found


def caffe_segnet_basic(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in state.items():
        _, stage, part, kind = name.split(".")
        found[f"conv{int(stage) + 1}{'_bn' if part == 'norm' else ''}.{kind}"] = tensor
    return found | {"conv_classifier.weight": torch.ones(11, 64, 1, 1), "conv_decode4.weight": torch.ones(64, 64, 7, 7)}


def caffe_unet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in state.items():
        _, level, unit, _, kind = name.split(".")
        found[f"conv_d{level}{('a-b', 'b-c')[int(unit)]}.{kind}"] = tensor
    return found | {"upconv_d4c_u3a.weight": torch.ones(2, 2, 2, 2), "conv_u3b-c.weight": torch.ones(2, 2, 3, 3)}


CAFFE: dict[str, tuple[dict[str, Any], Callable[[Mapping[str, Tensor]], dict[str, Tensor]]]] = {
    "vgg": ({"depth": 11}, caffe_vgg),
    "alexnet": ({"variant": "2012"}, lambda state: {**state, "fc6.weight": torch.ones(4, 4)}),
    "resnet": ({"depth": 18}, caffe_resnet18),
    "googlenet": ({"true_5x5": True, "batch_norm": False}, caffe_googlenet),
    "densenet": ({}, caffe_densenet),
    "segnet_basic_encoder": ({}, caffe_segnet_basic),
    "unet_encoder": ({"width": 4}, caffe_unet),
}


@pytest.mark.parametrize("name", CAFFE)
def test_caffes_names(name: str, tmp_path: Path) -> None:
    arguments, named = CAFFE[name]
    first = randomised(BACKBONES.find(name)(**arguments))
    torch.save(named(first.state_dict()), tmp_path / "net.pth")
    second = BACKBONES.find(name)(**arguments, weights=str(tmp_path / "net.pth"))
    assert all(
        torch.equal(value, second.state_dict()[key])
        for key, value in first.state_dict().items()
        if not key.endswith("num_batches_tracked")
    )


@pytest.mark.parametrize(
    ("name", "arguments", "net"),
    [
        ("resnet", {"depth": 34}, torchvision_net("resnet18")),
        ("resnet", {"depth": 18}, torchvision_net("resnet34")),
        ("vgg", {"depth": 11}, torchvision_net("vgg11_bn")),
        ("timm", {"model": "resnet26"}, timm_net("resnet18")),
        ("smp", {"encoder": "resnet18"}, torchvision_net("resnet34")),
        ("alexnet", {}, torchvision_net("resnet18")),
    ],
    ids=lambda value: str(value) if isinstance(value, (str, dict)) else "",
)
def test_weights_of_another_net_are_refused_with_what_to_do(
    name: str, arguments: dict[str, Any], net: Net, tmp_path: Path
) -> None:
    torch.save(randomised(net()).state_dict(), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="toolkit weights show"):
        BACKBONES.find(name)(**arguments, weights=str(tmp_path / "net.pth"))
