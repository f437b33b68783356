"""A full disk is told as one, whichever library was writing, and costs nothing that was there."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from run_laws import assert_same_run
from tiny_run import tiny_config, write_tiny

from toolkit.cli import main
from toolkit.engine.checkpoint import TrainState, load_state, save_state
from toolkit.engine.log import RunLog
from toolkit.errors import UserError
from toolkit.jobs import check
from toolkit.jobs.train import run_training
from toolkit.models.weights import read_weights, save_weights

STATE = TrainState(1, {"weight": torch.zeros(50_000)}, {"state": {}, "param_groups": []}, {}, {}, -1, {}, "", ("a",))


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """The system's limit on a file's size stands for a disk that fills up: the write before it succeeds in part."""
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


WRITERS: dict[str, Callable[[Path], None]] = {
    "state": lambda path: save_state(path, STATE),
    "weights": lambda path: save_weights(path, STATE.model, {"classes": ["a"]}),
    "metrics": lambda path: [RunLog(path, None, quiet=True).event(step=n, text="x" * 1000) for n in range(200)],
    "log": lambda path: [RunLog(None, path, quiet=True).line("x" * 1000) for _ in range(200)],
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_file_of_a_run_says_so(tmp_path: Path, writer: str) -> None:
    path = tmp_path / "file"
    with no_file_larger_than(100_000), pytest.raises(UserError) as caught:
        WRITERS[writer](path)
    (problem,) = caught.value.problems
    assert str(path) in problem.where
    assert problem.message in [f"cannot be written: {os.strerror(n)}" for n in (errno.EFBIG, errno.ENOSPC)]
    assert problem.suggestion == "free space or choose another folder; what was there is kept"
    assert [one.name for one in tmp_path.iterdir()] in ([], ["file"])  # no temporary file is left


def test_a_writer_that_has_no_word_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """As the pictures of the demonstration: what reaches the command line is told like all the rest."""

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "picture.png"))

    monkeypatch.setattr(check, "check_config", fails)
    assert main.run(["check", str(write_tiny(tmp_path, tmp_path / "data"))]) == 1
    assert "picture.png: cannot be written: No space left on device; free space" in capsys.readouterr().err


def test_the_former_state_and_weights_stay(tmp_path: Path) -> None:
    small = STATE._replace(model={"weight": torch.ones(3)})
    save_state(tmp_path / "state", small)
    save_weights(tmp_path / "weights", small.model, {})
    with no_file_larger_than(100_000):
        for name in ("state", "weights"):
            with pytest.raises(UserError):
                WRITERS[name](tmp_path / name)
    assert torch.equal(load_state(tmp_path / "state").model["weight"], torch.ones(3))
    assert torch.equal(read_weights(tmp_path / "weights")[0]["weight"], torch.ones(3))


def test_a_training_goes_on_once_there_is_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(tmp_path / "data", "train.save_every=1")
    run_training(config, tmp_path / "whole", quiet=True)
    size = (tmp_path / "whole" / "last.state").stat().st_size
    with no_file_larger_than(size // 2), pytest.raises(UserError, match=r"last\.state: cannot be written"):
        run_training(config, tmp_path / "run", quiet=True)
    run_training(config, tmp_path / "run", resume=True, quiet=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        path.name for path in (tmp_path / "whole").iterdir()
    }
