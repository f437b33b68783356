"""Somebody else's ONNX file through `predict`: what it cannot say is asked for, what it is engine-wise is said."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from toolkit.cli.main import run
from toolkit.errors import CheckpointError, UserError
from toolkit.export import installed
from toolkit.export.programs import load_program

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
SAID = ["program.classes=[background,text]", "program.mean=[0.5,0.5,0.5]", "program.std=[0.5,0.5,0.5]"]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net that calls a pixel text where it is bright: one channel of probabilities."""
    weight = onnx.numpy_helper.from_array(np.full((1, 3, 1, 1), 4, np.float32), "weight")
    nodes = [
        onnx.helper.make_node("Conv", ["x", "weight"], ["logit"]),
        onnx.helper.make_node("Sigmoid", ["logit"], ["p"]),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "theirs",
        [onnx.helper.make_tensor_value_info("x", kind, ["N", 3, "H", "W"])],
        [onnx.helper.make_tensor_value_info(name, kind, ["N", 1, "H", "W"]) for name in ("p", "logit")],
        [weight],
    )
    path = tmp_path_factory.mktemp("foreign") / "theirs.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.zeros((40, 50, 3), np.uint8)
    pixels[:, 20:] = 255
    Image.fromarray(pixels).save(tmp_path / "half.png")
    return tmp_path / "half.png"


def test_what_must_be_said_is_asked_for_at_once(foreign: Path, picture: Path, tmp_path: Path, capfd: Any) -> None:
    assert run(["predict", str(foreign), str(picture), "--out", str(tmp_path / "out")]) == 2
    said = capfd.readouterr().err
    for word in ("input x", "output p", "program.classes", "program.mean", "program.std"):
        assert word in said


def test_a_foreign_program_labels_pixels(foreign: Path, picture: Path, tmp_path: Path, capfd: Any) -> None:
    out = tmp_path / "out"
    assert run(["predict", str(foreign), str(picture), *SAID, "--out", str(out), "--json"]) == 0, capfd.readouterr().err
    assert json.loads(capfd.readouterr().out)["classes"] == ["background", "text"]
    labels = np.asarray(Image.open(out / "half.png"))
    assert (labels[:, :20] == 0).all()
    assert (labels[:, 20:] == 1).all()


def test_one_channel_of_logits_says_text_above_zero(foreign: Path, tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (131,) * 3).save(tmp_path / "gray.png")  # a logit of 0.3
    words = [*SAID, "program.output=logits", "program.output_name=logit", "--out", str(tmp_path / "out")]
    assert run(["predict", str(foreign), str(tmp_path / "gray.png"), *words]) == 0
    assert (np.asarray(Image.open(tmp_path / "out" / "gray.png")) == 1).all()


def test_a_misspelt_key_is_answered(foreign: Path, picture: Path, tmp_path: Path, capfd: Any) -> None:
    words = ["program.clases=[a,b]", *SAID[1:]]
    assert run(["predict", str(foreign), str(picture), *words, "--out", str(tmp_path / "out")]) == 2
    assert "classes" in capfd.readouterr().err


def test_pictures_that_a_program_of_one_size_does_not_take_are_refused_in_words(
    foreign: Path, picture: Path, tmp_path: Path, capfd: Any
) -> None:
    model = onnx.load(str(foreign))
    for side in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        side.dim_value = 32
    onnx.save(model, str(tmp_path / "fixed.onnx"))
    assert run(["predict", str(tmp_path / "fixed.onnx"), str(picture), *SAID, "--out", str(tmp_path / "out")]) == 1
    assert "takes Nx3x32x32; a picture, normalised and padded, is 1x3x64x64 float32" in capfd.readouterr().err


def test_a_foreign_program_of_pytorch_labels_pixels(picture: Path, tmp_path: Path, capfd: Any) -> None:
    net = torch.nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        net.weight[:] = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1)
        net.bias.zero_()
    program = torch.export.export(net.eval(), (torch.zeros(1, 3, 64, 64),))
    torch.export.save(program, tmp_path / "theirs.pt2")
    assert run(["predict", str(tmp_path / "theirs.pt2"), str(picture), *SAID, "--out", str(tmp_path / "out")]) == 0
    assert (np.asarray(Image.open(tmp_path / "out" / "half.png"))[:, [0, -1]] == [0, 1]).all()


def test_it_cannot_be_evaluated_for_it_names_no_data(foreign: Path, capfd: Any) -> None:
    assert run(["evaluate", str(foreign), *SAID]) == 2
    assert "no data is named" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("program.classes=text", "two names or more"),
        ("program.classes=[a,b,c]", "has 1 channels"),
        ("program.mean=hello", "wanted a list of numbers, found hello"),
        ("program.mean=[0.5]", "wanted 3 numbers"),
        ("program.std=[0.5,0,0.5]", "above 0"),
        ("program.stride=4", "program.stride=1"),
        ("program.multiple=many", "whole number"),
        ("program.bgr=perhaps", "true or false"),
        ("program.mean=[0.5", "cannot be read"),
    ],
)
def test_what_is_said_otherwise_than_asked_for_is_refused_in_words(
    said: str, words: str, foreign: Path, picture: Path, tmp_path: Path, capfd: Any
) -> None:
    assert run(["predict", str(foreign), str(picture), "--out", str(tmp_path / "out"), *SAID, said]) != 0
    assert words in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [("text.pt2", "no archive"), ("zip.pt2", "no program of torch.export"), ("text.xml", "does not begin as a net"),
     ("text.onnx", "protobuf|Protobuf")],
)  # fmt: skip
def test_what_a_file_is_not_is_said_in_a_line(name: str, words: str, tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / name
    path.write_text("hello")
    path.with_suffix(".bin").write_bytes(b"")
    if name == "zip.pt2":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hello.txt", "hello")
    with pytest.raises(CheckpointError, match=words):
        load_program(path)
    assert capfd.readouterr().err == ""


def test_a_damaged_file_and_a_missing_package_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="damaged"):
        load_program(tmp_path / "bad.onnx")
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install onnxruntime"):
        load_program(tmp_path / "bad.onnx")
