"""Runs and answers of the first version (commit 0c7c967), kept as files: every later version loads them and agrees.

The runs were made by that version's command line on its generated shapes: `toolkit train segmentation.yaml` (30 steps), then
`toolkit train segmentation.yaml --resume train.steps=34` on a copy (`resumed_34.safetensors`), `toolkit evaluate RUN --json`,
`toolkit predict RUN PICTURES --format mask` (or `csv`), `toolkit list --json` (`parts.json`), `toolkit describe --json`.
The shapes lie in `data` of each task, because encoders of JPEG differ between versions.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from toolkit.cli.main import run
from toolkit.config.load import load_config
from toolkit.jobs.evaluate import RecordWishes, run_evaluation
from toolkit.jobs.train import run_training

FIRST = Path(__file__).resolve().parent.parent / "fixtures" / "first_runs"
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ANSWERS = json.loads((FIRST / "answers.json").read_text())
TASKS = ["segmentation", "detection"]

# Parts and defaults that changed on purpose since, each with its reason.
GONE: dict[str, str] = {
    "losses.smp": "no config could name it; focal, jaccard, lovasz and tversky have names of their own",
}
CHANGED: dict[str, str] = {
    "heads.rcnn.rpn.anchors.style": "anchors lie on the true stride; runs of then keep the old rule",
}


def copied(task: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIRST / task, tmp_path / "run", ignore=shutil.ignore_patterns("data")))


def data_of(task: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIRST / task / "data", tmp_path / "data"))


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(arguments) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("task", TASKS)
def test_its_weights_score_as_then(task: str, tmp_path: Path) -> None:
    wishes = RecordWishes(out=tmp_path / "out")
    overrides = [f"data.root={data_of(task, tmp_path)}"]
    result = run_evaluation(FIRST / task, overrides=overrides, quiet=True, wishes=wishes)
    assert {name: result["metrics"][name] for name in ANSWERS[task]} == pytest.approx(ANSWERS[task], abs=5e-3)
    assert result["losses"] == pytest.approx(ANSWERS["losses"][task], rel=1e-4)


@pytest.mark.parametrize(
    "task", [pytest.param(task, marks=pytest.mark.slow) if task == "detection" else task for task in TASKS]
)
def test_its_run_goes_on_as_then(task: str, tmp_path: Path) -> None:
    folder = copied(task, tmp_path)
    config = load_config(folder / "config.yaml", ["train.steps=34", f"data.root={data_of(task, tmp_path)}"])
    result = run_training(config, folder, resume=True, allow_changes=True, quiet=True)
    assert result["step"] == 34
    weights, then = load_file(folder / "last.safetensors"), load_file(folder / "resumed_34.safetensors")
    assert weights.keys() == then.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, then[name], rtol=1e-3, atol=1e-4)


def test_its_masks_are_predicted_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    pictures = FIRST / "segmentation" / "data" / "images" / "val"
    output(
        capsys, "predict", str(FIRST / "segmentation"), str(pictures), "--out", str(out), "--format", "mask", "--json"
    )
    for then in sorted((FIRST / "segmentation" / "masks").iterdir()):
        now = np.asarray(Image.open(out / then.name))
        assert (now == np.asarray(Image.open(then))).mean() > 0.999


def test_its_boxes_are_predicted_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    pictures = FIRST / "detection" / "data" / "images" / "val"
    output(capsys, "predict", str(FIRST / "detection"), str(pictures), "--out", str(out), "--format", "csv", "--json")
    assert boxes(out / "detections.csv") == pytest.approx(boxes(FIRST / "detection" / "detections.csv"), abs=0.05)


def boxes(path: Path) -> list[float]:
    """x1, y1, x2, y2 and score of the twenty best of each picture, in the order of the file."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    best = [
        row for name in sorted({row["image"] for row in rows}) for row in [r for r in rows if r["image"] == name][:20]
    ]
    return [float(row[key]) for row in best for key in ("x1", "y1", "x2", "y2", "score")]


def test_its_parts_are_all_there_with_their_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    then = json.loads((FIRST / "parts.json").read_text())
    now = {kind: {part["name"]: part for part in parts} for kind, parts in output(capsys, "list", "--json").items()}
    for kind, parts in then.items():
        for name, arguments in parts.items():
            if f"{kind}.{name}" in GONE:
                continue
            assert name in now[kind], f"{kind}: '{name}' is gone"
            known = {one["name"]: one for one in now[kind][name]["parameters"]}
            for key, default in arguments.items():
                if f"{kind}.{name}.{key}" in CHANGED:
                    continue
                found = "<required>" if known[key]["required"] else known[key]["default"]
                assert found == default, f"{kind}.{name}.{key}"


@pytest.mark.parametrize("asked", ANSWERS["describe"])
def test_its_anatomies_are_described_again(asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, size = asked.split()
    then = ANSWERS["describe"][asked]
    now = output(capsys, "describe", str(CONFIGS / f"{name}.yaml"), "--size", size, "--json")
    keys = ("name", "kind", "out", "receptive_field", "jump", "parameters", "macs")
    assert {key: now[key] for key in then if key != "layers"} == {key: then[key] for key in then if key != "layers"}
    assert [[row[key] for key in keys] for row in now["layers"]] == then["layers"]
