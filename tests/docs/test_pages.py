"""The pages of the documentation do what they show: every command, every Python block, every piece of a config.

A page's first comment says what its folder holds at the start (`starts with: masks boxes run detector`). What cannot run here
stands behind `<!-- not run: REASON -->`, and `<!-- ends with: 2 -->` is for a mistake made on purpose. Trainings make two
steps with two pictures; everything else runs as it is written.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import segmentation_models_pytorch as smp
import torch
import yaml
from own_folders import own_folders

import toolkit
from toolkit.cli.main import run
from toolkit.config.load import load_config
from toolkit.errors import ConfigError
from toolkit.jobs import demo

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.parent != DOCS / "site")
REASONS = ("GPU", "cluster", "network", "install")
SMALL = ("train.steps=2", "data.batch_size=2", "data.workers=0", "train.warmup_steps=0", "train.threads=1")
STUDY = (*SMALL, "evaluate.record=false")

_FENCE = re.compile(
    r"(?:^<!--(?P<said>[^\n]*?)-->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """A fenced block of a page. language: of the fence. said: the comment right above it, "" without one."""

    language: str
    text: str
    said: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = _FENCE.finditer(text)
    return [
        Block(one["language"], one["text"], (one["said"] or "").strip(), text[: one.start()].count("\n") + 1)
        for one in found
    ]


def start_of(page: Path) -> list[str]:
    found = re.search(r"<!-- starts with: ([\w ]+) -->", page.read_text(encoding="utf-8"))
    return found[1].split() if found else []


def not_run(block: Block) -> str | None:
    return block.said.removeprefix("not run: ") if block.said.startswith("not run:") else None


def commands(text: str) -> list[list[str]]:
    lines = (shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines())
    return [words for words in lines if words]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_what_is_not_run_says_why(page: Path) -> None:
    """And every other block is of a kind that is run, read as a config, or shown as text."""
    for block in blocks(page):
        reason = not_run(block)
        if reason is not None:
            assert reason.split(":")[0].split(",")[0] in REASONS, f"line {block.line}: {reason}"
        else:
            assert block.language in ("bash", "python", "yaml", "text", "json", "csv"), f"line {block.line}"
            assert block.language != "bash" or all(
                words[0] in ("toolkit", "python", "ls", "head", "cat") for words in commands(block.text)
            ), f"line {block.line}: what starts with another word cannot be run"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mine.yaml` with `runs/mine` from masks, `own_boxes.yaml` with `runs/own_boxes` from boxes."""
    place = tmp_path_factory.mktemp("trained")
    own_folders(place)
    before = Path.cwd()
    os.chdir(place)
    try:
        for folder, config, more in (
            ("pictures", "mine.yaml", []),
            ("boxes", "own_boxes.yaml", ["--task", "detection"]),
        ):
            assert run(["init", folder, "--out", config, "--minutes", "1", *more]) == 0
            assert run(["train", config, *SMALL]) == 0
    finally:
        os.chdir(before)
    return place


def made(place: Path, starts: list[str], trained: Path) -> None:
    """Fills a page's folder with what its first comment names."""
    own_folders(place)
    for name, config in (("run", "mine"), ("detector", "own_boxes")):
        if name in starts:
            shutil.copytree(trained / "runs" / config, place / "runs" / config, dirs_exist_ok=True)
            shutil.copy(trained / f"{config}.yaml", place)
    if "run" in starts:
        names = [f"val/{number}.jpg" for number in range(4)]
        lines = [f"{name},{'sun' if number % 2 else 'rain'}" for number, name in enumerate(names)]
        place.joinpath("weather.csv").write_text("\n".join(["image,weather", *lines]) + "\n")
    for name, folders in (("masks", ["pictures"]), ("boxes", ["boxes"])):
        if name not in starts and not {"run", "detector"} & {*starts}:
            for folder in folders:
                shutil.rmtree(place / folder)
    if not starts or starts == ["nothing"]:
        place.joinpath("photos").unlink(missing_ok=True)
    if "weights" in starts:
        weights_of_others(place)
    shutil.copytree(REPOSITORY / "configs", place / "configs", dirs_exist_ok=True)
    shutil.copytree(REPOSITORY / "tools", place / "tools", dirs_exist_ok=True)


def weights_of_others(place: Path) -> None:
    """`unet.pth` as segmentation-models-pytorch saves it; `net.pth` in names of its own, with `table.yaml` for them."""
    torch.save(smp.Unet("resnet18", None, classes=2).state_dict(), place / "unet.pth")
    model = toolkit.unet("resnet18", num_classes=2)
    torch.save({f"net.{name}": tensor for name, tensor in model.state_dict().items()}, place / "net.pth")
    (place / "table.yaml").write_text("about: names of somebody\nrules:\n  - net.{rest*} -> {rest*}\n")


def one_command(words: list[str]) -> int:
    if words[0] == "toolkit":
        more = {"train": SMALL, "study": STUDY}.get(words[1], ())
        if "--help" in words or "--dry-run" in words:
            more = ()
        return run(
            [*words[1:], *(change for change in more if not any(w.startswith(change.split("=")[0]) for w in words))]
        )
    program = [sys.executable, *words[1:]] if words[0] == "python" else words
    return subprocess.run(program, timeout=600).returncode


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """A piece of a config put into a whole one: sections are joined, parts of another name take the place of the old."""
    result = dict(base)
    for key, value in change.items():
        old = base.get(key)
        same_part = (
            isinstance(old, dict) and isinstance(value, dict) and value.get("name", old.get("name")) == old.get("name")
        )
        result[key] = merged(old, value) if same_part else value
    return result


def check_config(text: str, place: Path) -> None:
    """A block that begins with a comment of a file's name is that file; pieces of a config are tried in a whole one."""
    name = re.match(r"# (\S+\.(?:yaml|txt|csv))\b", text)
    if name:
        (place / name[1]).write_text(text)
    value = yaml.safe_load(text)
    if isinstance(value, dict) and {"model", "data", "train", "evaluate"} & value.keys():
        detects = "boxes" in text or "rcnn" in text or "anchors" in text
        base = "faster_rcnn_shapes" if detects else "unet_shapes"
        whole = merged(yaml.safe_load((REPOSITORY / f"configs/tiny/{base}.yaml").read_text()), value)
        (place / "piece.yaml").write_text(yaml.safe_dump(whole, sort_keys=False))
        load_config(place / "piece.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = demo.demo_text
    monkeypatch.setattr(demo, "demo_text", lambda task: re.sub(r"( steps: )\d+", r"\g<1>2", whole(task)))
    made(tmp_path, start_of(page), trained)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict[str, Any] = {"__name__": "page"}
    skipped: list[str] = []
    for block in blocks(page):
        reason = not_run(block)
        if reason is not None:
            skipped.append(f"{page.name}:{block.line}: {reason}")
        elif block.language == "bash":
            wanted = int(block.said.removeprefix("ends with: ")) if block.said.startswith("ends with:") else 0
            for words in commands(block.text):
                code = one_command(words)
                assert code == wanted, (f"{page.name}:{block.line}", words, capfd.readouterr().err[-3000:])
        elif block.language == "python":
            file = re.match(r"# (\w+\.py)\b", block.text)
            if file:
                Path(file[1]).write_text(block.text)
            exec(compile(block.text, f"{page.name}:{block.line}", "exec"), names)
        elif block.language == "yaml":
            check_config(block.text, tmp_path)
    if skipped:
        warnings.warn(f"not run: {'; '.join(skipped)}", stacklevel=1)


def test_pieces_of_a_config_are_held_to_it(tmp_path: Path) -> None:
    """The test itself finds a wrong key."""
    check_config("train: {ema_decay: 0.9}", tmp_path)
    with pytest.raises(ConfigError, match="ema_dekay"):
        check_config("train: {ema_dekay: 0.9}", tmp_path)
