"""Names that hold what a terminal obeys are shown, by every way that text takes to a terminal or a log."""

from __future__ import annotations

import ast
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import caller
from mistake_data import masks, masks_config

import toolkit.cli
from toolkit.cli.options import print_json, say
from toolkit.engine.log import RunLog, table
from toolkit.printing import printable
from toolkit.progress import Progress

ESCAPE = "\x1b]0;PWN\x07\x1b[31mred\x9b2J\r\u202e"
OBEYED = {chr(code) for code in [*range(10), *range(11, 32), *range(0x7F, 0xA0), 0x202E]}


def test_whatever_a_terminal_obeys_is_written_out() -> None:
    assert printable("é 🦆\n漢") == "é 🦆\n漢"
    assert printable("\udcff") == "\\udcff"  # half of a name that is no UTF-8
    assert not OBEYED & set(printable("".join(sorted(OBEYED))))
    assert "PWN" in printable(ESCAPE)


def test_each_way_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    say(ESCAPE)
    say(ESCAPE, err=True)
    print_json({"name": ESCAPE})
    log = RunLog(None, tmp_path / "train.log")
    log.line(ESCAPE)
    log.line(table(ESCAPE, ["a", ESCAPE], [[ESCAPE, "1"]]))
    with Progress("x", 2, every=0.0) as progress:
        progress.update(1, ESCAPE)
    out, err = capsys.readouterr()
    assert not OBEYED & set(out + err + (tmp_path / "train.log").read_text())
    assert json.loads(out.splitlines()[1]) == {"name": ESCAPE}


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    stream.fileno = lambda: 2  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("os.get_terminal_size", lambda *_: __import__("os").terminal_size((200, 24)))
    progress = Progress("x", 2)
    progress._last = -1.0
    progress.update(1, ESCAPE)
    assert stream.getvalue()
    assert not (OBEYED - {"\r"}) & set(stream.getvalue())
    assert stream.getvalue().count("\r") == 1


def test_verbs_have_one_way_to_speak() -> None:
    """`say` and `print_json` are the ways out; nothing else in cli/ prints."""
    for path in Path(toolkit.cli.__path__[0]).glob("*.py"):
        calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        spoken = [call for call in calls if call in ("print", "click.echo", "click.secho") or call.endswith(".show")]
        assert spoken == [] or path.name == "options.py", path


def test_names_of_files_and_classes(tmp_path: Path, capfd: Any) -> None:
    """A class and an unreadable picture with such names, through check, train, evaluate and predict."""
    tool = caller(capfd)
    data = masks(tmp_path / "data", {"train": 5, "val": 2})
    name = ESCAPE.replace("/", "")
    (data / f"images/train/{name}.jpg").write_text("no picture")
    (data / f"masks/train/{name}.png").write_bytes((data / "masks/train/00.png").read_bytes())
    config = masks_config(tmp_path / "c.yaml", data)
    classes = json.dumps(["a", "b", name])
    change = [f"data.classes={classes}", "data.on_bad=skip", "train.steps=2"]
    run, pictures = tmp_path / "run", tmp_path / "pictures"
    pictures.mkdir()
    (pictures / f"{name}.png").write_text("no picture")
    (pictures / "good.jpg").write_bytes((data / "images/val/00.jpg").read_bytes())
    lines = [
        ("check", config, *change),
        ("train", config, *change, "--run", run),
        ("evaluate", run),
        ("predict", run, pictures, "--out", tmp_path / "out"),
    ]
    said = "".join(f"{result.out}{result.err}" for result in (tool(*line) for line in lines))
    assert said.count("PWN") > 4
    assert not OBEYED & set(said)
    assert not OBEYED & set((run / "train.log").read_text())
