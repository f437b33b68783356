"""One picture may take as long as a thousand: how far it is, is shown inside of it."""

from __future__ import annotations

import io
import os
import re
import sys

import numpy as np
import pytest
from prediction_jobs import dense_model

from toolkit.inference.folder import predict
from toolkit.progress import Progress, told_within, tracked


def made_terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    stream.fileno = lambda: 2  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("os.get_terminal_size", lambda *_: os.terminal_size((200, 24)))
    return stream


def shown(progress: Progress) -> None:
    progress._last = -1.0  # as if nothing had been shown for a while


def test_tiles_move_the_bar_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = made_terminal(monkeypatch)
    with Progress("predict", 2, "img") as progress:
        shown(progress)
        told_within(1, 4, "tile")
        assert terminal.getvalue().endswith("tile 1/4")
        assert "predict [##------------------] 0/2" in terminal.getvalue()
        assert progress.seconds_left > 0
        shown(progress)
        progress.update(1)
        last = terminal.getvalue().rpartition("\r")[2]
        assert "[##########----------] 1/2" in last
        assert "tile" not in last


def test_lines_elsewhere_and_nobody_who_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    told_within(1, 4, "tile")
    with Progress("predict", 2, "img", every=0.0), Progress("inner", 3, every=0.0):
        told_within(3, 4, "tile")
    assert [line.split("  ")[-1] for line in capsys.readouterr().err.splitlines()] == ["tile 3/4"]


def test_a_picture_in_tiles_counts_them(capsys: pytest.CaptureFixture[str]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (160, 200, 3), np.uint8)
    with Progress("predict", 1, "img", every=0.0):
        assert len(list(predict(dense_model(), picture, tile=96))) == 1
    counted = re.findall(r"tile (\d+)/(\d+)", capsys.readouterr().err)
    total = int(counted[-1][1])
    assert total > 1
    assert [int(number) for number, _ in counted] == list(range(1, total + 1))


def test_one_of_several_processes_speaks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Progress.__init__, "__kwdefaults__", {"every": 0.0, "shown": True})
    assert list(tracked("ab", "files", 2)) == ["a", "b"]
    assert "files 2/2" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "1")
    assert list(tracked("ab", "files", 2)) == ["a", "b"]
    assert capsys.readouterr().err == ""
