"""The command line as scripts and people meet it: exit codes, one JSON object, one message, no traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fresh_process import wait_for
from PIL import Image
from tiny_run import write_tiny

from toolkit.cli.main import run, verbs

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny.yaml, its data, and one finished run."""
    folder = tmp_path_factory.mktemp("made")
    config = write_tiny(folder, folder / "data")
    assert run(["train", str(config), "--run", str(folder / "run")]) == 0
    return folder


def test_the_installed_command_and_the_tools_are_the_same(tmp_path: Path) -> None:
    """Of a config with a mistake, which is told before anything slow is imported."""
    command = Path(sys.executable).with_name("toolkit")
    config = write_tiny(tmp_path, tmp_path / "data")
    config.write_text(config.read_text().replace("steps:", "stepz:", 1))
    checks = [
        [str(command), "--version"],
        [sys.executable, str(REPOSITORY / "tools" / "check.py"), str(config), "--json"],
        [str(command), "check", str(config), "--json"],
    ]
    version, tool, installed = (subprocess.run(c, capture_output=True, text=True) for c in checks)
    assert version.returncode == 0
    assert version.stdout.startswith("toolkit")
    assert (tool.returncode, tool.stdout, tool.stderr) == (installed.returncode, installed.stdout, installed.stderr)
    assert installed.returncode == 2
    answer = json.loads(installed.stdout)
    assert not answer["ok"]
    assert any("stepz" in error["message"] for error in answer["errors"])


def test_every_verb_has_a_tool_file() -> None:
    assert {path.stem for path in (REPOSITORY / "tools").glob("*.py")} == {*verbs()}


@pytest.mark.parametrize("verb", verbs())
def test_help_has_an_example(verb: str, toolkit: Any) -> None:
    result = toolkit(verb, "--help")
    assert result.code == 0
    assert f"Example: toolkit {verb}" in " ".join(result.out.split())


def test_help_does_not_import_torch() -> None:
    code = "import sys; from toolkit.cli.main import run; run(['--help']); sys.exit({'torch', 'numpy'} & set(sys.modules) != set())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian", "x"], "did you mean 'train'"),
        (["train"], "Missing argument"),
        (["train", "x.yaml", "--rsume"], "has no option --rsume"),
        (["list", "backbone"], "backbones"),
        (["train", "no.yaml"], "no config file"),
    ],
)
def test_usage_errors_exit_2(arguments: list[str], words: str, toolkit: Any) -> None:
    result = toolkit(*arguments)
    assert result.code == 2
    assert words in result.err
    assert result.out == ""


def test_train_evaluate_predict_speak_json(made: Path, tmp_path: Path, toolkit: Any) -> None:
    trained = toolkit("train", made / "tiny.yaml", "train.steps=2", "--run", tmp_path / "run", "--json")
    assert (trained.code, trained.json["step"]) == (0, 2)
    measured = toolkit("evaluate", tmp_path / "run", "--json")
    assert measured.code == 0
    assert measured.json["metrics"] == trained.json["metrics"]
    predicted = toolkit(
        "predict", tmp_path / "run", made / "data" / "images" / "val", "--out", tmp_path / "out", "--json"
    )
    assert (predicted.code, predicted.json["images"], predicted.json["written"], predicted.json["failed"]) == (
        0,
        3,
        8,
        [],
    )
    masks = sorted((tmp_path / "out").glob("*.png"))
    assert [path.stem for path in masks] == [path.stem for path in sorted((made / "data" / "images" / "val").iterdir())]
    mask = Image.open(masks[0])
    assert (mask.mode, mask.size) == ("P", (40, 32))
    assert np.asarray(mask).max() < 7


def test_list_and_schema_speak_json(toolkit: Any) -> None:
    listed = toolkit("list", "backbones", "--json").json["backbones"]
    resnet = next(part for part in listed if part["name"] == "resnet")
    assert {"name": "depth", "type": "18 or 34 or 50 or 101 or 152"}.items() <= resnet["parameters"][0].items()
    assert toolkit("schema").json["title"] == "toolkit config"
    assert "unet_encoder" in toolkit("list").out


def test_config_error_as_json(made: Path, toolkit: Any) -> None:
    result = toolkit("check", made / "tiny.yaml", "train.stps=3", "model.nek=x", "--json")
    assert result.code == 2
    assert result.json["ok"] is False
    suggestions = {error["suggestion"] for error in result.json["errors"]}
    assert suggestions == {"did you mean 'steps'?", "did you mean 'neck'?"}


# ------------------------------------------------------------------ data that is wrong


@pytest.fixture
def broken(made: Path, tmp_path: Path) -> Path:
    """A copy of the shapes as plain image and mask folders, and a config for it: to be broken."""
    shutil.copytree(made / "data" / "images", tmp_path / "d" / "images")
    shutil.copytree(made / "data" / "masks", tmp_path / "d" / "masks")
    text = (made / "tiny.yaml").read_text().replace(str(made / "data"), str(tmp_path / "d"))
    recipe = ", count_train: 6, count_val: 3, image_size: [32, 40]"
    for split in ("train", "val"):
        text = text.replace(
            f"{{name: shapes, split: {split}{recipe}}}",
            f"{{name: image_masks, images: images/{split}, masks: masks/{split}}}",
        )
    (tmp_path / "broken.yaml").write_text(text)
    return tmp_path


def first(folder: Path) -> Path:
    return min(folder.iterdir())


def break_missing(d: Path) -> Path:
    shutil.rmtree(d)
    return d


def break_empty(d: Path) -> Path:
    shutil.rmtree(d / "images" / "train")
    (d / "images" / "train").mkdir()
    return d / "images" / "train"


def break_maskless(d: Path) -> Path:
    image = first(d / "images" / "train")
    (d / "masks" / "train" / f"{image.stem}.png").unlink()
    return image


def break_size(d: Path) -> Path:
    mask = first(d / "masks" / "train")
    Image.open(mask).resize((20, 16), Image.Resampling.NEAREST).save(mask)
    return mask


def break_label(d: Path) -> Path:
    path = first(d / "masks" / "train")
    picture = Image.open(path)
    mask = np.asarray(picture).copy()
    mask[:5, :6] = 30
    again = Image.fromarray(mask)
    again.putpalette(picture.getpalette())
    again.save(path)
    return path


def break_truncated(d: Path) -> Path:
    image = first(d / "images" / "train")
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    return image


def break_colour(d: Path) -> Path:
    mask = first(d / "masks" / "train")
    Image.open(mask).convert("RGB").save(mask)
    return mask


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (break_missing, "no folder"),
        (break_empty, ""),
        (break_maskless, "mask"),
        (break_size, "16"),
        (break_label, "30"),
        (break_truncated, "truncated"),
        (break_colour, "colour"),
    ],
)
def test_bad_data_is_found_named_and_stops(break_it: Any, words: str, broken: Path, toolkit: Any) -> None:
    culprit = break_it(broken / "d")
    for command in (["check", "--full"], ["train", "--run", broken / "run"]):
        result = toolkit(command[0], broken / "broken.yaml", *command[1:])
        assert result.code == 1, (command, result.err)
        assert culprit.stem in result.err
        assert words in result.err
    if (broken / "run").exists():  # found while training: nothing half-made claims to be a result
        assert not (broken / "run" / "best.safetensors").exists()


def test_the_sound_copy_is_sound(broken: Path, toolkit: Any) -> None:
    assert toolkit("check", broken / "broken.yaml", "--full", "--json").json["ok"]


def test_class_lists_must_agree(broken: Path, toolkit: Any) -> None:
    result = toolkit("train", broken / "broken.yaml", "data.classes=[a, b]", "--run", broken / "run")
    assert result.code == 1
    result = toolkit("check", broken / "broken.yaml", "data.classes=[a, b]")
    assert result.code == 1


# ------------------------------------------------------------------ checkpoints and folders


def test_a_checkpoint_of_another_model_is_refused(made: Path, tmp_path: Path, toolkit: Any) -> None:
    result = toolkit("evaluate", made / "run", "model.backbone.width=8")
    assert result.code == 2  # the command line made it another model
    assert "best.safetensors" in result.err
    assert "leave out model.backbone.width=8" in result.err
    for damage in (b"", b"junk", (made / "run" / "best.safetensors").read_bytes()[:1000]):
        (tmp_path / "bad.safetensors").write_bytes(damage)
        result = toolkit("predict", tmp_path / "bad.safetensors", made / "data" / "images", "--out", tmp_path / "o")
        assert result.code == 1
        assert "bad.safetensors" in result.err
    assert toolkit("evaluate", tmp_path / "none").code == 2
    assert "run folder" in toolkit("evaluate", made / "run" / "last.state").err


def test_a_used_run_is_not_overwritten(made: Path, toolkit: Any) -> None:
    result = toolkit("train", made / "tiny.yaml", "--run", made / "run")
    assert result.code == 2
    assert "--resume" in result.err


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder(made: Path, tmp_path: Path, toolkit: Any) -> None:
    tmp_path.chmod(0o500)
    result = toolkit("train", made / "tiny.yaml", "--run", tmp_path / "run")
    assert result.code == 1
    assert "cannot be written" in result.err


def test_a_run_below_a_file_cannot_be_made(made: Path, toolkit: Any) -> None:
    result = toolkit("train", made / "tiny.yaml", "--run", made / "tiny.yaml" / "run")
    assert result.code == 1
    assert str(made / "tiny.yaml") in result.err


def test_prediction_goes_past_bad_pictures(made: Path, tmp_path: Path, toolkit: Any) -> None:
    pictures = tmp_path / "pictures"
    (pictures / "deep").mkdir(parents=True)
    good = cv2.imencode(".jpg", np.full((50, 70, 3), 128, np.uint8))[1].tobytes()
    (pictures / "a.jpg").write_bytes(good)
    (pictures / "deep" / "a.jpg").write_bytes(good)
    (pictures / "cut.jpg").write_bytes(good[: len(good) // 2])
    (pictures / "empty.png").write_bytes(b"")
    (pictures / "notes.txt").write_text("not a picture")
    result = toolkit("predict", made / "run", pictures, "--out", tmp_path / "out", "--format", "mask", "--json")
    assert result.code == 1
    assert result.json["images"] == 4
    assert sorted(Path(failure["file"]).name for failure in result.json["failed"]) == ["cut.jpg", "empty.png"]
    assert (
        Image.open(tmp_path / "out" / "a.png").size == Image.open(tmp_path / "out" / "deep" / "a.png").size == (70, 50)
    )
    for arguments, words in (
        ([tmp_path / "nowhere"], "no file or folder"),
        ([tmp_path / "out" / "*.bmp"], "matches no picture"),
        ([pictures, "--format", "maks"], "did you mean 'mask'"),
        ([pictures, "--out", pictures / "deep"], "lies in the folder of the pictures"),
    ):
        result = toolkit("predict", made / "run", "--out", tmp_path / "o2", *arguments)
        assert result.code in (1, 2)
        assert words in result.err


def test_ctrl_c_saves_and_exits_130(made: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "toolkit",
        "train",
        str(made / "tiny.yaml"),
        "train.steps=100000",
        "train.evaluate_every=null",
    ]
    process = subprocess.Popen([*command, "--run", str(tmp_path / "run")], stderr=subprocess.PIPE, text=True)
    wait_for((tmp_path / "run" / "last.state").exists, process)
    process.send_signal(2)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "--resume" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("variables", "speaks"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "8", "LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "1", "SLURM_PROCID": "0"}, False),
        ({"SLURM_PROCID": "3"}, False),
    ],
)
def test_of_several_processes_one_prints_json(
    variables: dict[str, str], speaks: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from toolkit.cli.options import print_json

    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    print_json({"a": 1})
    assert capsys.readouterr().out == ('{"a": 1}\n' if speaks else "")
