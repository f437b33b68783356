"""Ready-made weights: what is read, and what every mistake says."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import nn

from toolkit.errors import CheckpointError, ConfigError
from toolkit.weights.fit import load_exactly
from toolkit.weights.read import part_of, read_weights, read_weights_named

SMALL = {"conv.weight": torch.ones(2, 3, 1, 1), "conv.bias": torch.zeros(2)}


def small() -> nn.Module:
    return nn.ModuleDict({"conv": nn.Conv2d(3, 2, 1)})


@pytest.mark.parametrize("wrap", [None, "state_dict", "model"])
def test_a_pth_file_gives_its_tensors(tmp_path: Path, wrap: str | None) -> None:
    path = tmp_path / "net.pth"
    torch.save(SMALL if wrap is None else {wrap: SMALL, "epoch": 3}, path)
    found = read_weights(str(path))
    assert found.keys() == SMALL.keys()
    assert torch.equal(found["conv.weight"], SMALL["conv.weight"])
    assert read_weights_named(str(path), "alexnet").keys() == SMALL.keys()


def test_a_safetensors_file_gives_its_tensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "net.safetensors"
    save_file(SMALL, path)
    assert torch.equal(read_weights(str(path))["conv.weight"], SMALL["conv.weight"])


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.pth", b"no zip at all"), ("a.safetensors", b"too short"), ("a.pth", b""), ("a.safetensors", b"\xff" * 64)],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"cannot read weights from .*{name}"):
        read_weights(str(tmp_path / name))


def test_files_that_would_run_code_or_hold_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"net": nn.Linear(1, 1)}, path)
    with pytest.raises(CheckpointError, match="cannot read weights"):
        read_weights(str(path))
    torch.save({"epoch": 3}, path)
    with pytest.raises(CheckpointError, match="holds no state dict"):
        read_weights(str(path))


def test_a_missing_file_says_what_lies_near(tmp_path: Path) -> None:
    (tmp_path / "resnet.pth").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no weights file .*resnett.pth; near: .*resnet.pth"):
        read_weights(str(tmp_path / "resnett.pth"))


def test_unknown_names_list_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"no weights called 'IMAGENET1K_V3'.*did you mean .*IMAGENET1K_V1"):
        read_weights_named("IMAGENET1K_V3", "alexnet")
    with pytest.raises(ConfigError, match=r"did you mean .*AlexNet_Weights.IMAGENET1K_V1"):
        read_weights("AlexNet_Weights.IMAGENET1K_V11")


def test_a_failed_download_says_how_to_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import AlexNet_Weights

    def offline(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(type(AlexNet_Weights.DEFAULT), "get_state_dict", offline)
    for read in (lambda: read_weights_named("DEFAULT", "alexnet"), lambda: read_weights("AlexNet_Weights.DEFAULT")):
        with pytest.raises(CheckpointError, match=r"no route to host.*local .pth or .safetensors file.*weights: null"):
            read()


def test_loading_tells_every_difference() -> None:
    state = {"conv.weight": torch.ones(2, 4, 1, 1), "cnov.bias": torch.zeros(2), "fc.weight": torch.ones(1)}
    with pytest.raises(CheckpointError) as caught:
        load_exactly(small(), state, "my.pth")
    text = str(caught.value)
    assert "my.pth: 1 tensors are missing: conv.bias" in text
    assert "not of this net: cnov.bias" in text
    assert "conv.weight is (2, 4, 1, 1), wanted (2, 3, 1, 1)" in text
    assert "fc.weight" not in text


def test_loading_fills_the_module() -> None:
    net = small()
    load_exactly(net, SMALL, "my.pth")
    assert all(torch.equal(value, SMALL[name]) for name, value in net.state_dict().items())
    assert part_of(SMALL, "conv.").keys() == {"weight", "bias"}
