"""Whatever asks a training to stop, from wherever it comes: it saves, says so, and can be continued."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from fresh_process import wait_for
from run_laws import assert_same_run
from tiny_run import tiny_config, write_tiny

from toolkit.engine import train as train_module
from toolkit.engine.checkpoint import load_state
from toolkit.engine.interrupt import StopAtOnce
from toolkit.jobs.train import run_training


def logged(run: Path) -> int:
    try:
        return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    except (OSError, IndexError, ValueError):
        return 0


def start(folder: Path, *overrides: str, **options: object) -> subprocess.Popen[bytes]:
    """`toolkit train` in a process group of its own."""
    config = write_tiny(folder, folder / "data")
    command = [sys.executable, "-m", "toolkit", "train", str(config), "--run", str(folder / "run"), *overrides]
    return subprocess.Popen(command, start_new_session=True, **options)  # type: ignore[call-overload]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_group_saves_and_continues_to_the_bit(tmp_path: Path, number: signal.Signals) -> None:
    """As `timeout`, systemd, scancel and a closed terminal send it: to the loader's workers too."""
    options = ["data.workers=2", "train.steps=1000000", "train.log_every=1", "train.schedule=null"]
    quiet = ["train.save_every=null", "train.evaluate_every=null"]
    process = start(tmp_path, *options, *quiet, stderr=subprocess.PIPE)
    wait_for(lambda: logged(tmp_path / "run") >= 3, process)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert said.decode().strip().splitlines()[-1].startswith("stopped; saved")
    step = load_state(tmp_path / "run" / "last.state").step
    assert step >= logged(tmp_path / "run") >= 3
    more = [f"train.steps={step + 2}", *options[2:], *quiet]
    run_training(tiny_config(tmp_path / "data", *more), tmp_path / "run", resume=True, allow_changes=True, quiet=True)
    run_training(tiny_config(tmp_path / "data", *more), tmp_path / "whole", quiet=True)
    for run in ("run", "whole"):  # what the flag let through is noted as an event
        file = tmp_path / run / "metrics.jsonl"
        lines = [line for line in file.read_text().splitlines() if "changed" not in line]
        file.write_text("".join(f"{line}\n" for line in lines))
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_a_terminal_that_is_gone(tmp_path: Path) -> None:
    """Writing to it fails from then on; that must not come before the save."""
    keeper, terminal = pty.openpty()
    process = start(
        tmp_path, "train.steps=1000000", "train.log_every=1", "train.save_every=null", "train.evaluate_every=null",
        stdin=terminal, stdout=terminal, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    os.set_blocking(keeper, False)

    def reached() -> bool:
        with suppress(BlockingIOError):
            os.read(keeper, 1 << 16)
        return logged(tmp_path / "run") >= 3

    wait_for(reached, process)
    os.close(keeper)
    os.killpg(process.pid, signal.SIGHUP)
    assert process.wait(timeout=300) == 130
    assert load_state(tmp_path / "run" / "last.state").step >= 3


def test_the_state_is_saved_before_an_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends the evaluation, the steps before it are not lost."""
    config = tiny_config(tmp_path / "data", "train.save_every=null", "train.evaluate_every=5")
    with monkeypatch.context() as patch:

        def killed(*_: object) -> None:
            raise ZeroDivisionError

        patch.setattr(train_module, "measure", killed)
        with pytest.raises(ZeroDivisionError):
            run_training(config, tmp_path / "run", quiet=True)
    state = load_state(tmp_path / "run" / "last.state")
    assert (state.step, state.evaluated) == (5, -1)
    run_training(config, tmp_path / "run", resume=True, quiet=True)
    run_training(config, tmp_path / "whole", quiet=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_before_there_is_anything_to_save_a_signal_ends_the_work() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), StopAtOnce():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_hang_up_that_nohup_switched_off_stays_off() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopAtOnce():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
