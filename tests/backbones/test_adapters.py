"""`timm` and `smp`: the libraries' own maps, minus what is no map; true strides; readable refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from toolkit.backbones.smp import SmpBackbone
from toolkit.backbones.timm import TimmBackbone
from toolkit.contracts import SizeRule
from toolkit.errors import CheckpointError, ConfigError

IMAGES = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("encoder", "strides"),
    [
        ("resnet18", (2, 4, 8, 16, 32)),
        ("mit_b0", (4, 8, 16, 32)),  # the library fills stride 2 with a map of no channels
        ("vgg11", (1, 2, 4, 8, 16, 32)),  # its first map is a real one, not the image
        ("tu-test_convnext", (4, 8, 16, 32)),
    ],
)
def test_smp_gives_the_librarys_maps_without_filler(encoder: str, strides: tuple[int, ...]) -> None:
    backbone = SmpBackbone(encoder).eval()
    assert backbone.spec.strides == strides
    assert backbone.spec.sizes == SizeRule(32, 32)
    assert type(backbone.net).__module__.startswith("segmentation_models_pytorch.")
    with torch.no_grad():
        maps, expected = backbone(IMAGES).maps, backbone.net(IMAGES)
    assert [64 // m.shape[-2] for m in maps] == list(strides)
    for a, b in zip(maps, expected[-len(strides) :], strict=True):
        assert torch.equal(a, b)
    assert all(m.shape[1] in (0, 3) for m in expected[: -len(strides)])


def test_smp_depth_and_output_stride_are_in_the_spec() -> None:
    shallow = SmpBackbone("resnet18", depth=3, in_channels=1)
    assert (shallow.spec.strides, shallow.spec.sizes, shallow.in_channels) == ((2, 4, 8), SizeRule(8, 8), 1)
    dilated = SmpBackbone("resnet18", output_stride=8)
    assert dilated.spec.strides == (2, 4, 8, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"encoder": "resnet43"}, "did you mean 'resnet34'"),
        ({"encoder": "resnet18", "weights": "imagenett"}, "did you mean 'imagenet'"),
        ({"encoder": "vgg11", "output_stride": 8}, "'vgg11' cannot be built"),
    ],
)
def test_smp_refusals(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SmpBackbone(**arguments)
    assert words in str(caught.value)


@pytest.mark.parametrize("model", ["test_resnet", "test_convnext", "test_vit", "test_efficientnet"])
def test_timm_states_what_its_maps_are(model: str) -> None:
    backbone = TimmBackbone(model).eval()
    with torch.no_grad():
        maps = backbone(IMAGES).maps
    assert backbone.spec.channels == tuple(m.shape[1] for m in maps)
    assert backbone.spec.strides == tuple(64 // m.shape[-2] for m in maps)
    config = timm.get_pretrained_cfg(model)
    assert backbone.pixel_stats.mean == tuple(config.mean)
    assert backbone.pixel_stats.std == tuple(config.std)


@pytest.mark.slow
def test_timm_maps_are_channels_first_even_where_timms_are_not() -> None:
    backbone = TimmBackbone("swin_tiny_patch4_window7_224").eval()
    with torch.no_grad():
        maps = backbone(IMAGES).maps
    assert [tuple(m.shape[1:]) for m in maps] == [(96, 16, 24), (192, 8, 12), (384, 4, 6), (768, 2, 3)]


@pytest.mark.slow
def test_timm_nets_that_need_multiples_say_so() -> None:
    assert TimmBackbone("hrnet_w18_small").spec.sizes == SizeRule(32, 32)


def test_timm_options() -> None:
    backbone = TimmBackbone("test_resnet", in_channels=1, output_stride=8, out_indices=[1, 4])
    assert backbone.spec.strides == (4, 8)
    assert backbone(IMAGES[:, :1]).maps[1].shape[-2:] == (8, 12)
    assert len(backbone.pixel_stats.mean) == 1


def test_timm_reads_local_weights(tmp_path: Path) -> None:
    torch.manual_seed(5)
    source = timm.create_model("test_resnet").eval()
    torch.save(source.state_dict(), tmp_path / "w.pth")
    backbone = TimmBackbone("test_resnet", weights=str(tmp_path / "w.pth")).eval()
    with torch.no_grad():
        assert torch.equal(backbone(IMAGES).maps[-1], source.forward_features(IMAGES))


def test_timm_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="did you mean 'test_resnet'"):
        TimmBackbone("test_resnt")
    with pytest.raises(ConfigError, match="cannot be built"):
        TimmBackbone("test_resnet", out_indices=[17])
    with pytest.raises(CheckpointError, match=r"none\.pth"):
        TimmBackbone("test_resnet", weights=str(tmp_path / "none.pth"))
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"bad\.pth"):
        TimmBackbone("test_resnet", weights=str(tmp_path / "bad.pth"))

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", offline)
    with pytest.raises(CheckpointError, match="pretrained: false"):
        TimmBackbone("test_resnet", pretrained=True)
