"""Files that another version of the toolkit wrote: what is wrong with them, and which version that was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from toolkit.config.load import load_config
from toolkit.engine.checkpoint import load_state
from toolkit.errors import CheckpointError, ConfigError, UserError
from toolkit.jobs.restore import load_model
from toolkit.models.weights import save_weights

UNKNOWN = "model: {backbone: {name: resnet}, head: {name: pixel}, attention: flash}"


def test_weights_with_a_key_of_a_later_version_name_it(tmp_path: Path) -> None:
    about = {"config": UNKNOWN, "classes": ["a", "b"]}
    save_weights(tmp_path / "later.safetensors", {"x": torch.zeros(1)}, {**about, "toolkit": "9.1.0"})
    save_weights(tmp_path / "own.safetensors", {"x": torch.zeros(1)}, about)
    with pytest.raises(UserError, match=r"attention.*written by toolkit 9\.1\.0, and this is"):
        load_model(tmp_path / "later.safetensors")
    with pytest.raises(UserError, match="attention") as found:
        load_model(tmp_path / "own.safetensors")
    assert "written by" not in str(found.value)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"format": 2, "toolkit": "9.1.0"}, r"state of form 2, .* reads form 1.*continue with toolkit 9\.1\.0"),
        ({"format": 1, "toolkit": 3}, r"not a state file of this version.*best, .* missing.*the toolkit that wrote it"),
        ({}, "not a state file of this version.*says no form"),
    ],
)
def test_a_state_of_another_form_says_both_and_what_to_do(tmp_path: Path, held: dict, said: str) -> None:
    torch.save(held, tmp_path / "last.state")
    with pytest.raises(CheckpointError, match=said):
        load_state(tmp_path / "last.state")


@pytest.mark.parametrize("name", ["theirs.xml", "theirs.onnx", "theirs.pt2"])
def test_a_program_in_the_place_of_a_config_is_called_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("<net/>")
    with pytest.raises(ConfigError, match=r"program of another engine; wanted a config.*toolkit predict"):
        load_config(tmp_path / name)


def test_an_export_of_another_form_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    kind = onnx.TensorProto.FLOAT
    one, other = (onnx.helper.make_tensor_value_info(name, kind, ["N"]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "later", [one], [other])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    notes = {"export": json.dumps({"format": 2, "toolkit": "9.1.0"}), "config": json.dumps("model: {}")}
    onnx.helper.set_model_props(model, notes)
    onnx.save(model, str(tmp_path / "later.onnx"))
    with pytest.raises(CheckpointError, match=r"form 2, .* form 1; toolkit 9\.1\.0 wrote it"):
        load_model(tmp_path / "later.onnx")
