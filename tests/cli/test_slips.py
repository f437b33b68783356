"""The slips of the first ten minutes: each is answered in a sentence that says what to write, with exit code 2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from toolkit.cli.main import run

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with configs/, a run that saved nothing and a run with weights, be they junk."""
    shutil.copytree(REPOSITORY / "configs", tmp_path / "configs")
    for name, file in (("begun", "last.state"), ("done", "best.safetensors")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / file).write_bytes(b"junk")
        shutil.copy(tmp_path / "configs/tiny/unet_shapes.yaml", tmp_path / "runs" / name / "config.yaml")
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


GOOD = "configs/tiny/unet_shapes.yaml"
SLIPS: list[tuple[list[str], str]] = [
    (["train", "configs/unet_resnet_camvid.yaml"], "near: "),
    (["train", "configs/unet_shapes.yaml"], "did you mean configs/tiny/unet_shapes.yaml"),
    (["train", "tiny/unet_shapes"], "did you mean configs/tiny/unet_shapes.yaml?"),
    (["train", "configs/tiny/unet_shapes"], "did you mean configs/tiny/unet_shapes.yaml?"),
    (["train", "configs/classify"], "configs/classify/alexnet.yaml"),
    (["train", "train.steps=3"], "the config file comes first"),
    (["train", "runs/begun"], "toolkit train runs/begun/config.yaml --run runs/begun --resume"),
    (["train", "runs/done/best.safetensors"], "its config is runs/done/config.yaml"),
    (["train", GOOD, "--runs", "x"], "--run"),
    (["train", GOOD, "--train.steps", "3"], "write train.steps=3, without dashes"),
    (["train", GOOD, "train.steps", "300"], "write train.steps=300"),
    (["train", GOOD, "train.steps", "=", "300"], "write train.steps=300"),
    (["train", GOOD, "train.steps", "=300"], "write train.steps=300"),
    (["train", GOOD, "train.steps"], "not of the form key=value"),
    (["train", GOOD, ""], "an empty argument"),
    (["train", GOOD, "--resume", "runs/begun"], "--run runs/begun"),
    (["train", GOOD, "configs/tiny/unet_em.yaml"], "give one file"),
    (["train", GOOD, "train.steps="], "train.steps=null for none"),
    (["train", GOOD, "train.steps=1e3"], "found 1000.0 (a number); write 1000"),
    (["train", GOOD, "train.steps='100'"], "without quotes: 100"),
    (["train", GOOD, "train.deterministic=yes"], "write true"),
    (["train", GOOD, "train.clip_norm=None"], "for none write null"),
    (["train", GOOD, "name=3"], 'text in quotes: "3"'),
    (["train", GOOD, "steps=3"], "it is train.steps"),
    (["train", GOOD, "batch_size=3"], "it is data.batch_size or evaluate.batch_size"),
    (["train", GOOD, "train.lr=3"], "did you mean 'train.optimizer.lr'?"),
    (["train", GOOD, "train.steps={a: 1, a: 2}"], "stands twice"),
    (["train", GOOD, "train.steps=!!python/name:os.system"], "use a plain value"),
    (["train", GOOD, "train.steps=&a [*a]"], "aliases"),
    (["train", GOOD, "model.backbone=os:system"], "a module of Python's own"),
    (["train", GOOD, "model.backbone=a.py:Net"], "cannot import"),
    (["train", GOOD, "model.backbone=:"], "wanted module:Class"),
    (["configs/tiny/unet_shapes.yaml"], "the verb comes first: toolkit train"),
    (["evaluate", GOOD], f"train first (toolkit train {GOOD})"),
    (["evaluate", "runs/done/config.yaml"], "name the run folder, runs/done"),
    (["evaluate", "runs/begun"], "saved no weights yet"),
    (["evaluate", "runs/begun/last.state"], "name the run folder, runs/begun"),
    (["evaluate", "runs"], "did you mean runs/done?"),
    (["evaluate", "photos"], "is no run folder"),
    (["evaluate", "other/done"], "did you mean runs/done?"),
    (["predict", GOOD, "photos", "--out", "out"], "wanted a run folder or a weights file"),
]


@pytest.mark.parametrize(("arguments", "words"), SLIPS, ids=[" ".join(slip)[:60] for slip, _ in SLIPS])
def test_each_slip_has_its_sentence(
    arguments: list[str], words: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert out == ""
    assert len([line for line in err.splitlines() if not line.startswith(("Usage", "Try"))]) <= 3
    assert run([*arguments, "--json"]) == 2
    errors = json.loads(capsys.readouterr().out)["errors"]
    assert words in " ".join(f"{error['message']}; {error['suggestion']}" for error in errors)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "1: is empty"),
        ("model:\n\tneck: 3", ":2:1: not valid YAML: a tab; indent with spaces"),
        ("model: 1\nmodel: 2", ":2:1  model: stands twice, first at "),
        ("model:\n  neck: 'x\ntrain: 3", "a quote or a bracket is not closed"),
        ("model: {neck: 3\ntrain: 4", "a bracket is not closed, or a comma is missing"),
        ("model:\n    a: 1\n  b: 2", "the indentation of this line fits no line above it"),
        ("model:\n  neck\n  head: 3", "a colon missing above"),
        ("---\na: 1\n---\nb: 2", "one document"),
        ("a: \0", "U+0000, a character that no text holds"),
        ("model: *x", "needs quotes"),
        ("[" * 60 + "]" * 60, "inside one another"),
        ("[" * 5000, "inside one another"),
        ("- model", "a config has the keys model, data and train"),
        ("model: !!set {a}", "the tag "),
    ],
)
def test_each_slip_in_yaml_has_its_sentence(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c1"
    file.write_text(text)
    assert run(["train", str(file)]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert len(err.splitlines()) == 1


def test_a_terminal_is_shown_names_and_obeys_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.yaml"
    file.write_text('"\\e]0;owned\\a\\r": 1\n"\\u202e": 2\n')
    assert run(["train", str(file)]) == 2
    err = capsys.readouterr().err
    assert "\\x1b]0;owned\\x07\\r" in err
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(err)
