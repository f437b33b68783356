"""`toolkit list` and `toolkit new`: what a config may name, and a config to begin with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.cli.main import run
from toolkit.config.catalogue import GROUPS
from toolkit.config.load import load_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_is_listed(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", group, "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)[group]
    assert entries
    assert all(entry["name"] and entry["summary"] for entry in entries)
    assert run(["list", group]) == 0
    out = capsys.readouterr().out
    assert all(entry["name"] in out for entry in entries)


def test_a_part_is_told_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "datasets", "voc"]) == 0
    out = capsys.readouterr().out
    assert "ROOT/ImageSets/Main/train.txt" in out  # the folders it wants
    assert "split: text" in out
    assert "whether images without objects stay" in " ".join(out.split())
    assert run(["list", "resnet", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["backbones"]
    depth = next(parameter for parameter in entry["parameters"] if parameter["name"] == "depth")
    assert depth == {
        "name": "depth", "type": "18 or 34 or 50 or 101 or 152", "required": False, "default": 50, "help": depth["help"],
    }  # fmt: skip
    assert len(depth["help"].split()) >= 5


def test_the_same_name_in_two_groups_is_told_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "smp", "--json"]) == 0
    assert {"backbones", "necks"} <= set(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnt"], "did you mean 'resnet'?"),
        (["backbones", "resnt"], "did you mean 'resnet'?"),
        (["backbone"], "'backbones'"),
        (["classes", "voc21"], "is no kind of part"),
        (["transforms", "Normalize"], "cannot be used here"),
    ],
)
def test_what_is_not_there_is_answered(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_listing_needs_no_torch() -> None:
    code = "import sys; from toolkit.cli.main import run; run(['list']); run(['list', 'configs']); run(['schema'])\n"
    code += "run(['list', 'classes']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)


@pytest.mark.parametrize("name", ["unet_em", "tiny/unet_shapes", "unet_shapes", "configs/classify/vgg16.yaml"])
def test_a_config_to_begin_with(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.yaml"
    assert run(["new", name, "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"config": str(out)}
    (shipped,) = [path for path in CONFIGS.rglob("*.yaml") if path.read_text() == out.read_text()]
    assert shipped.stem == Path(name).stem
    load_config(out)
    out.write_text("mine")
    assert run(["new", name, "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_a_config_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["new", "unet_shpes"]) == 2
    assert "did you mean 'unet_shapes'" in capsys.readouterr().err
    assert run(["new", "segnet_camvid"]) == 0  # the one without a folder, though another folder has one of that name
    assert run(["new", "segnet_camvid"]) == 2
    assert run(["new", "unet_em", "--out", str(tmp_path / "no/where.yaml")]) == 2
    assert "cannot be written" in capsys.readouterr().err
