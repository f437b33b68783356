"""An export is proved in a process of its own, and refused when it answers otherwise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_run import write_tiny

pytest.importorskip("onnxscript")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of two steps and its folder of data."""
    from toolkit.config.load import load_config
    from toolkit.jobs.train import run_training

    folder = tmp_path_factory.mktemp("exported")
    run_training(load_config(str(write_tiny(folder, folder / "data")), ["train.steps=2"]), folder / "run")
    return folder / "run", folder / "data"


@pytest.fixture(scope="session")
def fixed(trained: tuple[Path, Path]) -> dict[str, Any]:
    """What the verb says of an export for the pictures' own size, which is written within seconds."""
    from toolkit.jobs.export import Wishes, run_export

    return run_export(trained[0], "onnx", trained[0] / "fixed" / "model.onnx", Wishes(size=(32, 40)))


@pytest.fixture(scope="session")
def exported(trained: tuple[Path, Path]) -> tuple[Path, Path, dict[str, Any]]:
    """The run, its data, and what the verb says of an export for any size."""
    from toolkit.jobs.export import run_export

    return *trained, run_export(trained[0], "onnx")


def test_an_export_is_proved(fixed: dict[str, Any]) -> None:
    parity = json.loads(Path(fixed["file"]).with_name("parity.json").read_text())
    assert parity["ok"]
    assert fixed["parity"]["max_logit"] <= 1e-4
    assert fixed["parity"]["labels_equal"] >= 0.9999
    assert {(row["height"], row["width"]) for row in parity["pictures"]} == {(32, 40)}
    assert parity["metric"]["difference"] <= 0.05
    assert Path(fixed["page"]).read_text().startswith("<!DOCTYPE html>")


@pytest.mark.slow
def test_an_export_for_any_size_is_proved_at_three(exported) -> None:
    run, _, said = exported
    parity = json.loads((Path(said["file"]).with_name("parity.json")).read_text())
    assert parity["ok"]
    assert said["parity"]["max_logit"] <= 1e-4
    assert said["parity"]["labels_equal"] >= 0.9999
    assert len({(row["height"], row["width"]) for row in parity["pictures"]}) == 3
    assert Path(said["file"]).parent == run / "export" / "onnx"


def test_the_runner_answers_without_the_package(trained, fixed: dict[str, Any], tmp_path: Path) -> None:
    picture = min((trained[1] / "images" / "val").iterdir())
    command = [sys.executable, "-I", fixed["runner"], str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout)["answer"].values()) == pytest.approx(1)
    assert Image.open(tmp_path / f"{picture.stem}_labels.png").size == Image.open(picture).size


def test_the_file_says_what_it_is(fixed: dict[str, Any]) -> None:
    file = onnx.load(fixed["file"])
    notes = {entry.key: json.loads(entry.value) for entry in file.metadata_props}
    assert len(notes["classes"]) == len(notes["palette"]) > 2
    assert notes["export"]["outputs"] == ["labels", "scores", "logits"]
    assert {"config", "pixel_stats", "export"} <= notes.keys()
    assert [one.name for one in file.graph.output] == ["labels", "scores", "logits"]


@pytest.mark.slow
def test_swapped_channels_are_refused_and_named(exported, tmp_path: Path) -> None:
    from toolkit.jobs.export import Wishes, run_export

    run, data, said = exported
    file = onnx.load(said["file"])
    for node in file.graph.node:
        for place, name in enumerate(node.input):
            if name == "pictures":
                node.input[place] = "swapped"
    order = onnx.numpy_helper.from_array(np.array([2, 1, 0]), "order")
    file.graph.initializer.append(order)
    file.graph.node.insert(0, onnx.helper.make_node("Gather", ["pictures", "order"], ["swapped"], axis=3))
    onnx.save(file, str(tmp_path / "swapped.onnx"))
    (tmp_path / "run.py").write_text(Path(said["runner"]).read_text())
    wishes = Wishes(samples=data / "images" / "val")
    found = run_export(run, "onnx", tmp_path / "swapped.onnx", wishes, check=True)
    assert not found["parity"]["ok"]
    assert "BGR" in found["parity"]["fault"]


@pytest.mark.slow
def test_predict_takes_the_file_like_the_checkpoint(exported, tmp_path: Path, toolkit: Any) -> None:
    run, data, said = exported
    for name, path in (("checkpoint", run), ("onnx", said["file"])):
        found = toolkit("predict", path, data / "images" / "val", "--out", tmp_path / name, "--json")
        assert found.code == 0, found.err
    masks = sorted(path.name for path in (tmp_path / "checkpoint").glob("*.png"))
    assert masks
    for name in masks:
        mine, theirs = (np.asarray(Image.open(tmp_path / kind / name)) for kind in ("checkpoint", "onnx"))
        assert (mine == theirs).mean() >= 0.999


@pytest.mark.slow
def test_evaluate_takes_the_file_like_the_checkpoint(exported, toolkit: Any) -> None:
    run, _, said = exported
    mine, theirs = (toolkit("evaluate", path, "--json") for path in (run, said["file"]))
    assert mine.code == theirs.code == 0, theirs.err
    assert theirs.json["metrics"]["mIoU"] == pytest.approx(mine.json["metrics"]["mIoU"], abs=5e-4)
    assert any("loss is not measured" in note for note in theirs.json["notes"])
