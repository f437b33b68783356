"""The pages of the documentation do what they show: every command, every Python block, every piece of a config.

A page's first comment says what its folder holds at the start (`starts with: masks boxes run detector`). What cannot run here
stands behind `<!-- not run: REASON -->`: a GPU, a cluster or the network is wanted, nothing else. `<!-- ends with: 2 -->` is for a
mistake made on purpose. Trainings make two steps with two pictures; what is handed to SLURM or Kubernetes is run as the
first of its tasks; everything else runs as it is written.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from doc_pages import PAGES, REPOSITORY, Block, blocks, commands, name_of, not_run, start_of
from own_folders import own_folders
from page_folders import page_folder

from toolkit.cli.main import run
from toolkit.config.load import load_config
from toolkit.errors import ConfigError
from toolkit.jobs import demo

REASONS = ("GPU", "cluster", "network")
PROGRAMS = ("toolkit", "python", "torchrun", "sbatch", "ls", "head", "cat")
SMALL = ("train.steps=2", "data.batch_size=2", "data.workers=0", "train.warmup_steps=0", "train.threads=1")
STUDY = (*SMALL, "evaluate.record=false")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_not_run_says_why(page: Path) -> None:
    """And every other block is of a kind that is run, read as a config, or shown as what something printed."""
    for block in blocks(page):
        reason = not_run(block)
        if reason is not None:
            assert re.split("[:,]", reason)[0] in REASONS, f"line {block.line}: {reason}"
            continue
        assert block.language in ("bash", "python", "yaml", "text"), f"line {block.line}"
        words = [words[0] for words in commands(block.text)] if block.language in ("bash", "text") else []
        if block.language == "bash":
            assert {*words} <= {*PROGRAMS}, f"line {block.line}: what starts with another word cannot be run"
        else:
            assert not {*words} & {*PROGRAMS, "pip"}, f"line {block.line}: a command that is shown as text is not run"


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


def made_small(words: list[str]) -> list[str]:
    """The words of `toolkit VERB ...`, with a training of two steps; what they say themselves is left, up to four steps."""
    more = {"train": SMALL, "study": STUDY}.get(words[0], ())
    words = [re.sub(r"^train\.steps=\d\d+$", "train.steps=4", word) for word in words]
    if "--help" in words or "--dry-run" in words:
        return words
    return [*words, *(change for change in more if not any(w.startswith(change.split("=")[0]) for w in words))]


def in_a_shell(line: str, **environment: str) -> int:
    """A line that a scheduler would run, with the variables that it sets."""
    python = f'toolkit() {{ "{sys.executable}" -m toolkit "$@"; }}'
    return subprocess.run(["sh", "-c", f"{python}\n{line}"], env=os.environ | environment, timeout=600).returncode


def one_command(words: list[str]) -> int:
    """Exit code of a command: verbs run in this process, programs in one of their own."""
    program, *rest = words
    if program == "toolkit":
        return run(made_small(rest))
    if program == "sbatch":
        assert rest[-2] == "--wrap"
        return in_a_shell(rest[-1], SLURM_ARRAY_TASK_ID="1")
    if program == "torchrun":
        verb = rest.index("toolkit") + 1
        launcher = [sys.executable, "-m", "torch.distributed.run", *rest[:verb], *made_small(rest[verb:])]
        return subprocess.run(launcher, timeout=600).returncode
    return subprocess.run([sys.executable, *rest] if program == "python" else words, timeout=600).returncode


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


def read_yaml(text: str, place: Path) -> None:
    """A block that begins with a file's name is that file, pieces of a config are tried in a whole one, a job's line is run."""
    name = re.match(r"# (\S+\.(?:yaml|txt|csv))\b", text)
    if name:
        (place / name[1]).write_text(text)
    value = yaml.safe_load(text)
    if not isinstance(value, dict):
        return
    if value.get("kind") == "Job":
        (container,) = value["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["sh", "-c"]
        assert in_a_shell(container["args"][0], JOB_COMPLETION_INDEX="0") == 0
    if {"model", "data", "train", "evaluate"} & value.keys():
        detects = "boxes" in text or "rcnn" in text or "anchors" in text
        base = "faster_rcnn_shapes" if detects else "unet_shapes"
        whole = merged(yaml.safe_load((REPOSITORY / f"configs/tiny/{base}.yaml").read_text()), value)
        if "split" in value.get("data", {}):
            del whole["data"]["val"]
        (place / "piece.yaml").write_text(yaml.safe_dump(whole, sort_keys=False))
        load_config(place / "piece.yaml")


def run_block(block: Block, title: str, names: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    """A block that is not skipped. names: what Python blocks of the page before it have defined."""
    if block.language == "bash":
        wanted = int(block.said.removeprefix("ends with: ")) if block.said.startswith("ends with:") else 0
        for words in commands(block.text):
            code = one_command(words)
            assert code == wanted, (title, words, capfd.readouterr().err[-3000:])
    elif block.language == "python":
        file = re.match(r"# (\w+\.py)\b", block.text)
        if file:
            Path(file[1]).write_text(block.text)
        exec(compile(block.text, title, "exec"), names)
    elif block.language == "yaml":
        read_yaml(block.text, Path.cwd())


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name_of)
def test_the_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = demo.demo_text
    small = {r"( steps: )\d+": r"\g<1>2", r"(warmup_steps: )\d+": r"\g<1>0", r"(count_(?:train|val): )\d+": r"\g<1>8"}

    def small_demo(task: str) -> str:
        text = whole(task)
        for pattern, by in small.items():
            text, times = re.subn(pattern, by, text)
            assert times, pattern
        return text

    monkeypatch.setattr(demo, "demo_text", small_demo)
    page_folder(tmp_path, start_of(page), trained)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict[str, Any] = {"__name__": "page"}
    skipped: list[str] = []
    for block in blocks(page):
        title = f"{page.name}:{block.line}"
        if (reason := not_run(block)) is None:
            run_block(block, title, names, capfd)
        else:
            skipped.append(f"{title}: {reason}")
    if skipped:
        warnings.warn(f"not run: {'; '.join(skipped)}", stacklevel=1)


def test_pieces_of_a_config_are_held_to_it(tmp_path: Path) -> None:
    """The test itself finds a wrong key."""
    read_yaml("train: {ema_decay: 0.9}", tmp_path)
    with pytest.raises(ConfigError, match="ema_dekay"):
        read_yaml("train: {ema_dekay: 0.9}", tmp_path)
