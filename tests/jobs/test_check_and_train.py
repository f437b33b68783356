"""The check's report as a whole, on the terminal and for programs; its quick part at the start of a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mistake_data import masks, masks_config
from tiny_detection import tiny_detection_config
from tiny_run import tiny_config, write_tiny

from toolkit.errors import ConfigError
from toolkit.jobs.build import build_model
from toolkit.jobs.build_data import build_dataset
from toolkit.jobs.check import check_config, quick_check
from toolkit.jobs.train import run_training


def quick(config: Any) -> Any:
    datasets = {split: build_dataset(config, split) for split in ("train", "val")}
    return quick_check(config, build_model(config), datasets)


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_sound_configs_have_nothing_to_say(task: str, tmp_path: Path) -> None:
    anchors = "model.head.rpn.anchors={scales: [2.5, 2.9, 3.8, 5.8], ratios: [0.25, 0.8, 1.0]}"
    config = tiny_config(tmp_path / "d") if task == "segmentation" else tiny_detection_config(tmp_path / "d", anchors)
    report = check_config(config)
    assert (report.findings, report.exit_code) == ([], 0)
    assert quick(config).findings == []


def test_the_quick_check_finds_what_the_whole_one_finds_without_a_batch(tmp_path: Path) -> None:
    overrides = [
        "train.warmup_steps=50", "data.batch_size=7", "data.val.dataset.split=train",
        "data.train.transforms=[{name: resize, height: 32, width: 96}]",
    ]  # fmt: skip
    config = tiny_config(tmp_path / "d", *overrides)
    whole = {finding.kind for finding in check_config(config).findings}
    assert whole == {"warmup", "large_batch", "same_files", "stretched"}
    assert {finding.kind for finding in quick(config).findings} == whole


def test_the_quick_check_leaves_model_and_random_state_alone(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "d")
    datasets = {split: build_dataset(config, split) for split in ("train", "val")}
    model = build_model(config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    quick_check(config, model, datasets)
    assert torch.equal(torch.rand(4), wanted)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_error_of_the_quick_check_stops_a_training_before_its_folder_is_made(tmp_path: Path) -> None:
    loss = "model.head.loss={name: cross_entropy, class_weights: [1.0, 2.0]}"
    with pytest.raises(ConfigError) as caught:
        run_training(tiny_config(tmp_path / "d", loss), tmp_path / "run", quiet=True)
    (problem,) = caught.value.problems
    assert problem.where == "model.head.loss.class_weights"
    assert "has 2 numbers, but there are 7 classes" in problem.message
    assert not (tmp_path / "run").exists()


def test_warnings_are_notes_of_the_start_screen(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "d", "train.steps=2", "train.warmup_steps=5", "data.val.dataset.split=train")
    run_training(config, tmp_path / "run", quiet=True)
    log = (tmp_path / "run" / "train.log").read_text().splitlines()
    notes = [line for line in log if line.startswith("note")]
    assert any("train.warmup_steps: warm-up (5 steps) is not over when the run is" in note for note in notes)
    assert any("'val' is the same images as 'train'" in note for note in notes)
    assert any("train.steps: 2 steps show 4 of the 6 training images" in note for note in notes)
    assert len(notes) == len(set(notes))


def test_gray_images_for_a_colour_model(tmp_path: Path) -> None:
    config = masks_config(tmp_path / "c.yaml", masks(tmp_path / "d"))
    text = config.read_text().replace("in_channels: 3", "in_channels: 1")
    config.write_text(text)
    from toolkit.config.load import load_config

    report = check_config(load_config(config))
    assert [finding.kind for finding in report.findings] == ["channels"]
    assert report.exit_code == 2
    assert "the model takes images of gray (1 channel), train has RGB (3 channels), e.g. images/train/00.jpg" in (
        report.errors[0].message
    )
    assert "set model.backbone.in_channels: 3 or set data.train.dataset.channels: 1" in report.errors[0].suggestion


# ------------------------------------------------------------------ the command line


def test_a_good_config_on_the_terminal(tmp_path: Path, toolkit: Any) -> None:
    result = toolkit("check", write_tiny(tmp_path, tmp_path / "d"))
    assert result.code == 0
    assert result.err == ""
    lines = result.out.splitlines()
    assert lines[-1] == "ok"
    assert {line.split()[0] for line in lines if line} >= {"data", "classes", "model", "sizes", "batch", "ok"}


def test_a_batch_size_still_to_be_found_is_not_judged(tmp_path: Path) -> None:
    few = ["train.steps=1", "train.warmup_steps=0", "train.evaluate_every=null", "train.save_every=null"]
    found = {
        size: [one.kind for one in quick(tiny_config(tmp_path / "d", *few, f"data.batch_size={size}")).findings]
        for size in (2, "auto")
    }
    assert found == {2: ["short_run"], "auto": []}


def test_warnings_and_errors_stand_in_groups_on_standard_error(tmp_path: Path, toolkit: Any) -> None:
    config = write_tiny(tmp_path, tmp_path / "d")
    result = toolkit("check", config, "train.warmup_steps=99", "data.batch_size=7", "model.backbone.in_channels=1")
    assert result.code == 2
    assert "\n2 warnings\n" in result.err
    assert "\n1 error\n" in result.err
    assert "  warning train.warmup_steps: warm-up (99 steps)" in result.err
    assert "the rate never gets there; set it to" in result.err
    assert result.out.splitlines()[-1] == "not ok, 1 error, 2 warnings"


def test_json_carries_everything(tmp_path: Path, toolkit: Any) -> None:
    config = write_tiny(tmp_path, tmp_path / "d")
    result = toolkit("check", config, "train.warmup_steps=99", "--json")
    assert result.code == 0
    found = json.loads(result.out)
    assert set(found) >= {"ok", "errors", "warnings", "facts", "statistics"}
    assert found["ok"] is True
    (warning,) = found["warnings"]
    assert (warning["kind"], warning["where"]) == ("warmup", "train.warmup_steps")
    assert found["statistics"]["batch"] == {"images": 2, "of": 2, "size": [32, 40]}
    assert found["statistics"]["image_size"] == [32, 40]


def test_a_config_that_cannot_be_read_is_one_error(tmp_path: Path, toolkit: Any) -> None:
    (tmp_path / "c.yaml").write_text("model: [1, 2\n")
    result = toolkit("check", tmp_path / "c.yaml", "--json")
    assert result.code == 2
    assert "not valid YAML" in result.json["errors"][0]["message"]
    assert toolkit("check", tmp_path / "none.yaml").code == 2
