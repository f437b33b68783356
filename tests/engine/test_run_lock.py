"""One run folder, one training: the second is refused and touches nothing, and a dead one's lock is in nobody's way."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_laws import assert_same_run, stop_after
from tiny_run import tiny_config

from toolkit.engine import run_lock
from toolkit.engine.run_folder import RunFolder, next_free
from toolkit.engine.run_lock import LOCK_FILE, is_locked, lock_folder
from toolkit.errors import ConfigError, UserError
from toolkit.jobs.train import run_training

HOLD = """
import sys
from pathlib import Path
from toolkit.engine.run_lock import lock_folder
lock = lock_folder(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.readline()
lock.release()
"""


class Other:
    """Another process that has a folder's lock."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "locked\n"

    def ends(self) -> None:
        self.process.communicate("\n", timeout=300)

    def killed(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Other]:
    holder = Other(tmp_path / "run")
    yield holder
    holder.killed()


def names(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK_FILE}


def test_a_second_training_and_a_resume_are_refused_and_write_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    config, run = tiny_config(tmp_path / "data"), tmp_path / "run"
    stop_after(config, run, 3, monkeypatch)
    assert not (run / LOCK_FILE).exists()
    holder, before = Other(run), names(run)
    said = rf"is being trained by process {holder.process.pid} on \S+ since \d{{4}}-"
    for resume in (False, True):
        with pytest.raises(ConfigError, match=said):
            run_training(config, run, resume=resume, quiet=True)
    assert names(run) == before
    holder.killed()
    run_training(config, run, resume=True, quiet=True)  # a killed process holds nothing
    run_training(config, tmp_path / "whole", quiet=True)
    assert_same_run(run, tmp_path / "whole")
    assert not (run / LOCK_FILE).exists()


def test_before_the_first_save_too(tmp_path: Path, other: Other) -> None:
    """A folder that looks unused, for its training has saved nothing yet."""
    (tmp_path / "run" / "config.yaml").write_text("its own")
    with pytest.raises(ConfigError, match="is being trained by process"):
        RunFolder.fresh(tmp_path / "run", exact=True)
    with pytest.raises(ConfigError, match="is being trained by process"):
        RunFolder.to_continue(tmp_path / "run", exact=True)
    assert next_free(tmp_path / "run") == tmp_path / "run-2"
    with RunFolder.fresh(tmp_path / "run", exact=False) as folder:
        assert folder.path == tmp_path / "run-2"
    assert (tmp_path / "run" / "config.yaml").read_text() == "its own"
    other.ends()
    assert next_free(tmp_path / "run") == tmp_path / "run"


def test_this_very_process_is_refused_as_well(tmp_path: Path) -> None:
    with RunFolder.fresh(tmp_path / "run", exact=True):
        assert is_locked(tmp_path / "run")
        with pytest.raises(ConfigError, match="by this process itself"):
            RunFolder.fresh(tmp_path / "run", exact=True)
    with RunFolder.fresh(tmp_path / "run", exact=True):
        pass


def race(folder: Path, start: Any, results: Any) -> None:
    start.wait()
    try:
        lock = lock_folder(folder)
        results.put("mine")
        start.wait()
        lock.release()
    except ConfigError:
        results.put("refused")
        start.wait()


def test_of_two_that_start_at_the_same_moment_one_is_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(10):
        start, results = context.Barrier(2), context.Queue()
        processes = [context.Process(target=race, args=(tmp_path, start, results)) for _ in range(2)]
        for process in processes:
            process.start()
        assert sorted(results.get(timeout=300) for _ in processes) == ["mine", "refused"]
        for process in processes:
            process.join()
        assert not (tmp_path / LOCK_FILE).exists()


def test_a_machine_that_is_gone_gives_no_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "BEAT", 0.02)
    (tmp_path / LOCK_FILE).write_text(json.dumps({"pid": 7, "host": "elsewhere", "since": "yesterday", "beat": 4}))
    assert is_locked(tmp_path)  # no fresh run under this name
    lock = lock_folder(tmp_path)
    assert str(lock.taken_from) == "process 7 on elsewhere since yesterday"
    lock.release()


def test_a_machine_that_lives_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system whose locks do not reach the other machine: its beat goes on."""
    file = tmp_path / LOCK_FILE
    text = json.dumps({"pid": 7, "host": "elsewhere", "since": "yesterday", "beat": 4})
    file.write_text(text)
    monkeypatch.setattr(run_lock.time, "sleep", lambda seconds: file.write_text(text.replace("4", "5")))
    with pytest.raises(ConfigError, match="trained by process 7 on elsewhere since yesterday"):
        lock_folder(tmp_path)


def test_whoever_stood_still_too_long_writes_no_more(tmp_path: Path) -> None:
    with RunFolder.fresh(tmp_path / "run", exact=True) as folder:
        folder.check_lock()
        content = json.loads((tmp_path / "run" / LOCK_FILE).read_text())
        assert (content["pid"], set(content)) == (os.getpid(), {"pid", "host", "since", "beat"})
        (tmp_path / "run" / LOCK_FILE).write_text(json.dumps({**content, "pid": 7, "host": "elsewhere"}))
        with pytest.raises(UserError, match="was taken over by process 7 on elsewhere"):
            folder.check_lock()
    assert (tmp_path / "run" / LOCK_FILE).exists()  # it is the other's


def test_a_killed_parent_leaves_its_lock_to_no_child(tmp_path: Path) -> None:
    """Loader workers outlive a killed training for some seconds."""
    code = HOLD.replace('print("locked"', 'import os\nif os.fork() == 0:\n    os.read(0, 1)\nprint("locked"')
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    with pytest.raises(ConfigError):
        lock_folder(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    lock_folder(tmp_path).release()
    process.stdin.close()  # type: ignore[union-attr]
