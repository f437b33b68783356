"""What the README shows works as it is shown (at a smaller size where it would take minutes)."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from own_folders import own_folders

from toolkit.cli.main import run
from toolkit.config.load import load_config

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
GUIDE = {page.stem: page.read_text(encoding="utf-8") for page in (REPOSITORY / "docs" / "guide").glob("*.md")}


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = (shlex.split(line, comments=True) for block in blocks("bash") for line in block.splitlines())
    return [words for words in lines if words]


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert {words[1] for words in commands() if words[0] == "make"} <= targets
    assert (REPOSITORY / ".ci" / "run").read_text().splitlines()[-1] == "make test"


def test_every_config_that_is_named_exists_and_is_sound() -> None:
    named = set(re.findall(r"configs/[\w/]+\.yaml", README))
    assert named
    for name in named - {"configs/NAME.yaml", "configs/classify/NAME.yaml", "configs/sequences/NAME.yaml"}:
        load_config(REPOSITORY / name)


def test_each_recipe_that_papers_agree_on_is_one_key() -> None:
    row = next(
        line for line in GUIDE["training"].splitlines() if line.startswith("| what present-day recipes agree on")
    )
    keys = [text.strip("'") for text in re.findall(r"`([^`]+=[^`]+)`", row)]
    assert len(keys) == 9
    others = {"model.head.label_smoothing": "classify_shapes", "model.head.roi.": "faster_rcnn_shapes"}
    for key in keys:
        name = next((name for start, name in others.items() if key.startswith(start)), "unet_em")
        load_config(REPOSITORY / f"configs/tiny/{name}.yaml", overrides=[key])


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPOSITORY / target).exists(), target


SMALL = ["train.steps=2", "data.batch_size=2", "data.workers=0", "train.warmup_steps=0"]


def three_lines(name: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Runs `init`, `check` and `train` as they are shown, on own pictures in a folder, without an edit."""
    own_folders(folder)
    block = next(block for block in blocks("bash") if f"--out {name}" in block)
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert [line[:2] for line in lines] == [["toolkit", verb] for verb in ("init", "check", "train")]
    for words in lines:
        changes = SMALL if words[1] == "train" else []
        assert run([*words[1:], *changes]) == 0, (words, capfd.readouterr().err)


@pytest.mark.parametrize("config", ["mine.yaml", pytest.param("own_boxes.yaml", marks=pytest.mark.slow)])
def test_three_lines(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    three_lines(config, tmp_path, capfd)


@pytest.mark.slow
def test_what_follows_the_three_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The commands after them, a resume, and the Python that uses the result."""
    monkeypatch.chdir(tmp_path)
    three_lines("mine.yaml", tmp_path, capfd)
    after = next(block for block in blocks("bash") if "toolkit evaluate runs/mine" in block and "labelled" in block)
    for words in (shlex.split(line, comments=True) for line in after.splitlines()):
        assert run(words[1:]) == 0, (words, capfd.readouterr().err)
    assert len(list((tmp_path / "labelled").glob("[0-9]*"))) == 8  # a mask and a drawing of each photo
    assert run(["train", "mine.yaml", "--resume", *SMALL, "train.steps=3"]) == 0
    job = next(block for block in blocks("python", GUIDE["python"]) if "toolkit.train" in block)
    exec(compile(job.replace('["train.steps=100"]', repr(SMALL)), "README", "exec"), {})
    uses_run = next(block for block in blocks("python", GUIDE["python"]) if "toolkit.load_model(" in block)
    exec(compile(uses_run, "README", "exec"), {})
    assert "(60, 80)" in capfd.readouterr().out.replace("torch.Size([60, 80])", "(60, 80)")


def test_composition(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(REPOSITORY)
    block = next(block for block in blocks("python", GUIDE["python"]) if "build_model" in block)
    exec(compile(block, "README", "exec"), {})
    assert "@2" in capfd.readouterr().out


def test_an_error_looks_as_it_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = (REPOSITORY / "configs/tiny/classify_shapes.yaml").read_text().replace("depth: 18", "dept: 18")
    (tmp_path / "mine.yaml").write_text(text)
    assert run(["check", str(tmp_path / "mine.yaml")]) == 2
    shown = "model.backbone.dept: backbone 'resnet' has no parameter 'dept'; did you mean 'depth'?"
    assert shown in GUIDE["check_and_describe"]
    assert shown in capfd.readouterr().err
