"""Weights files: what goes in comes out, and everything else is one readable error."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from torch import nn

from toolkit.errors import CheckpointError, UserError
from toolkit.models.weights import load_into, read_weights, save_weights, set_metadata

METADATA = {
    "classes": ["road", "café"],
    "palette": [[1, 2, 3], [4, 5, 6]],
    "config": "model:\n  backbone: {name: resnet}\n",
    "metrics": {"mIoU": 0.25, "IoU/road": None},
    "step": 12,
}


class Net(nn.Module):
    def __init__(self, width: int = 3, classes: tuple[str, ...] = ("road", "café")) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, width, 1)
        self.norm = nn.BatchNorm2d(width)
        self.classes = classes


def test_weights_and_metadata_come_back(tmp_path: Path) -> None:
    net = Net()
    path = tmp_path / "new folder" / "best.safetensors"
    save_weights(path, net.state_dict(), METADATA)
    state, metadata = read_weights(path)
    assert metadata == METADATA
    assert {name: value.dtype for name, value in state.items()} == {n: v.dtype for n, v in net.state_dict().items()}
    other = Net()
    report = load_into(other, state)
    assert report.complete
    assert set(report.loaded) == set(net.state_dict())
    for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_another_program_can_read_the_file(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    save_weights(tmp_path / "w.safetensors", Net().state_dict(), METADATA)
    assert set(load_file(tmp_path / "w.safetensors")) == set(Net().state_dict())


def test_shared_and_overlapping_tensors_come_back_equal(tmp_path: Path) -> None:
    base = torch.arange(12.0).view(3, 4)
    state = {
        "a": base,
        "b": base,
        "turned": base.t(),
        "part": base[1],
        "none": torch.zeros(0),
        "nothing": torch.zeros(0),
    }
    save_weights(tmp_path / "w.safetensors", state, {})
    back, metadata = read_weights(tmp_path / "w.safetensors")
    assert metadata == {}
    assert set(back) == set(state)
    assert all(torch.equal(back[name], state[name]) for name in state)
    assert (tmp_path / "w.safetensors").stat().st_size < 1000


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, Net().state_dict(), METADATA)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_weights(path, Net().state_dict(), {"step": {1, 2}})
    with pytest.raises(UserError, match=r"below\.safetensors"):
        save_weights(path / "below.safetensors", Net().state_dict(), METADATA)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def _good(tmp_path: Path) -> bytes:
    save_weights(tmp_path / "good.safetensors", Net().state_dict(), METADATA)
    return (tmp_path / "good.safetensors").read_bytes()


def _header(table: object, rest: bytes = b"") -> bytes:
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + rest


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: b"",
        lambda good: good[:5],
        lambda good: good[: len(good) // 2],
        lambda good: good[:-1],
        lambda good: good + b"x",
        lambda good: b"not a weights file at all",
        lambda good: struct.pack("<Q", 2**62) + good[8:],
        lambda good: _header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]}}, b"1234"),
        lambda good: _header({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, b"1234"),
        lambda good: _header([1, 2]),
    ],
    ids=["empty", "stub", "half", "less", "more", "text", "giant header", "short data", "giant shape", "list"],
)
def test_a_damaged_file_is_one_error(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(damage(_good(tmp_path)))  # type: ignore[operator]
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    assert str(path) in str(caught.value)
    assert len(caught.value.problems) == 1


def test_a_missing_file_names_near_ones(tmp_path: Path) -> None:
    _good(tmp_path)
    with pytest.raises(CheckpointError, match=r"no weights file .*goood.safetensors; near: .*good.safetensors"):
        read_weights(tmp_path / "goood.safetensors")


def test_metadata_of_other_programs_stays_text(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"format": "pt", "deep": "[" * 100_000})
    assert read_weights(path)[1]["format"] == "pt"


def test_the_first_misfits_and_both_class_lists_are_named() -> None:
    net = Net(4, ("sky", "tree", "car"))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = Net().state_dict()
    state["extra"] = state.pop("norm.bias")
    with pytest.raises(CheckpointError) as caught:
        load_into(net, state, where="best.safetensors", classes=("road", "café"))
    message = str(caught.value)
    assert "best.safetensors" in message
    assert "conv.weight is (3, 2, 1, 1), wanted (4, 2, 1, 1)" in message
    assert "1 tensors are missing: norm.bias" in message
    assert "1 tensors are not in this model: extra" in message
    assert "2 (road, café)" in message
    assert "3 (sky, tree, car)" in message
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_what_fits_is_taken_when_not_strict() -> None:
    net = Net(4)
    state = Net().state_dict()
    report = load_into(net, state, strict=False)
    assert report.loaded == ("norm.num_batches_tracked",)
    assert "conv.weight" in report.mismatched
    with pytest.raises(CheckpointError):
        load_into(net, {"other": torch.zeros(1)}, strict=False)


def test_an_entry_of_the_metadata_is_set_and_taken_away_and_the_tensors_stay_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2], dtype=torch.int8)}
    save_weights(path, state, {"classes": ["Bärs"], "step": 3})
    before = path.read_bytes()
    set_metadata(path, "operating_points", {"goal": "f1", "t": 0.1234567890123})
    found, metadata = read_weights(path)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    assert metadata == {"classes": ["Bärs"], "step": 3, "operating_points": {"goal": "f1", "t": 0.1234567890123}}
    assert path.read_bytes()[-26:] == before[-26:]  # 6 float32 and 2 int8
    set_metadata(path, "operating_points", None)
    assert read_weights(path)[1] == {"classes": ["Bärs"], "step": 3}
    assert [file.name for file in tmp_path.iterdir()] == ["best.safetensors"]


@pytest.mark.parametrize("content", [b"", b"\x05\x00\x00\x00\x00\x00\x00\x00[1,2]", b"PK" + b"\xff" * 40])
def test_metadata_is_set_in_safetensors_files_only(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is no safetensors file"):
        set_metadata(path, "a", 1)
    assert path.read_bytes() == content
