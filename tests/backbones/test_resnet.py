"""`resnet` against torchvision's own forward, and where its weights may come from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50
from torchvision.models._utils import IntermediateLayerGetter

from toolkit.backbones.resnet import ResNet
from toolkit.errors import CheckpointError, ConfigError

LAYERS = {"relu": "0", "layer1": "1", "layer2": "2", "layer3": "3", "layer4": "4"}


def torchvision_weights(path: Path, suffix: str) -> Path:
    """Random weights of torchvision's resnet18, on disk."""
    state = resnet18().state_dict()
    state["bn1.running_mean"] += 0.5
    file = path / f"resnet18{suffix}"
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, file)
    else:
        torch.save(state, file)
    return file


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("norm", ["batch", "frozen_batch"])
def test_equals_torchvision_with_its_weights_from_a_file(tmp_path: Path, suffix: str, norm: str) -> None:
    file = torchvision_weights(tmp_path, suffix)
    ours = ResNet(18, weights=str(file), norm=norm).eval()  # type: ignore[arg-type]
    theirs = resnet18().eval()
    theirs.load_state_dict(torch.load(tmp_path / "resnet18.pth") if suffix == ".pth" else _load(file))
    images = torch.randn(1, 3, 65, 50)
    with torch.no_grad():
        expected = IntermediateLayerGetter(theirs, LAYERS)(images)
        maps = ours(images).maps
    for a, b in zip(maps, expected.values(), strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-5) if norm == "frozen_batch" else torch.equal(a, b)


def _load(file: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(file)


def test_gray_images_with_published_weights_see_the_kernel_summed(tmp_path: Path) -> None:
    file = str(torchvision_weights(tmp_path, ".pth"))
    gray, colour = ResNet(18, weights=file, in_channels=1).eval(), ResNet(18, weights=file).eval()
    images = torch.randn(1, 1, 40, 40)
    with torch.no_grad():
        a, b = gray(images).maps[0], colour(images.expand(-1, 3, -1, -1)).maps[0]
    assert torch.allclose(a, b, atol=1e-5)
    bands = ResNet(18, weights=file, in_channels=6).eval()
    with torch.no_grad():
        assert torch.allclose(bands(images.expand(-1, 6, -1, -1)).maps[0], b, atol=1e-5)


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)],
)
def test_parameters_of_the_published_classifiers(depth: int, parameters: int) -> None:
    with torch.device("meta"):
        backbone = ResNet(depth)  # type: ignore[arg-type]
    fully_connected = (backbone.spec.channels[-1] + 1) * 1000
    assert sum(p.numel() for p in backbone.parameters()) + fully_connected == parameters


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_keeps_stride_and_weights(output_stride: int) -> None:
    with torch.device("meta"):
        dilated, plain = ResNet(50, output_stride=output_stride), resnet50()  # type: ignore[arg-type]
        maps = dilated(torch.zeros(1, 3, 64, 96)).maps
    assert [64 // m.shape[-2] for m in maps] == [min(s, output_stride) for s in (2, 4, 8, 16, 32)]
    assert tuple(dilated.spec.strides) == tuple(64 // m.shape[-2] for m in maps)
    shapes = {name: value.shape for name, value in plain.state_dict().items() if not name.startswith("fc.")}
    assert {name: value.shape for name, value in dilated.state_dict().items()} == shapes


def test_shallow_nets_are_not_dilated() -> None:
    with pytest.raises(ConfigError, match="needs depth 50"):
        ResNet(18, output_stride=8)


def test_frozen_stages_neither_train_nor_count_statistics() -> None:
    backbone = ResNet(18, frozen_stages=2).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    sum(m.mean() for m in backbone(torch.rand(2, 3, 64, 64)).maps).backward()
    frozen = {name for name, p in backbone.named_parameters() if p.grad is None}
    assert frozen == {name for name, _ in backbone.named_parameters() if name.startswith(("conv1", "bn1", "layer1"))}
    moved = {n for n, v in backbone.state_dict().items() if not torch.equal(v, before[n])}
    assert moved
    assert all(name.startswith(("layer2", "layer3", "layer4")) for name in moved)


def test_frozen_batch_norm_has_nothing_to_train() -> None:
    backbone = ResNet(18, norm="frozen_batch")
    assert all(p.ndim == 4 for p in backbone.parameters())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())


def test_weights_that_cannot_be_had_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="did you mean 'IMAGENET1K_V1'"):
        ResNet(18, weights="IMAGENET1K_V7")
    with pytest.raises(CheckpointError, match=r"none\.pth"):
        ResNet(18, weights=str(tmp_path / "none.pth"))
    other = tmp_path / "other.pth"
    torch.save(resnet18().layer1.state_dict(), other)
    with pytest.raises(CheckpointError, match="missing"):
        ResNet(18, weights=str(other))

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(CheckpointError, match=r"weights: null.*|local .*file"):
        ResNet(18, weights="DEFAULT")


def convolutions(net: ResNet) -> list[nn.Conv2d]:
    return [module for module in net.modules() if isinstance(module, nn.Conv2d)][1:]  # the first one reads the image


@pytest.mark.parametrize("depth", [18, 50])
def test_half_the_width_is_half_of_every_map_and_a_quarter_of_the_weights(depth: Literal[18, 50]) -> None:
    whole, half = ResNet(depth), ResNet(depth, width=32)
    maps = half(torch.rand(1, 3, 64, 96)).maps
    assert [2 * one.shape[1] for one in maps] == list(whole.spec.channels)
    assert [one.shape[1] for one in maps] == list(half.spec.channels)
    for thin, full in zip(convolutions(half), convolutions(whole), strict=True):
        assert 4 * thin.weight.numel() == full.weight.numel()
        # Kaiming's draw keeps the variance of what goes backwards: it follows from the channels that come out.
        assert float(thin.weight.detach().std()) == pytest.approx(2**0.5 * float(full.weight.detach().std()), rel=0.1)
