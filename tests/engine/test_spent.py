"""What a training has cost is counted over workers, processes and a resume."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tiny_run import tiny_config

from toolkit.engine.run_folder import RunFolder
from toolkit.engine.spent import Spent, processor_seconds
from toolkit.jobs.train import run_training

ALONE = SimpleNamespace(world_size=1)


def test_time_spent_waiting_does_not_count() -> None:
    before = processor_seconds()
    time.sleep(0.3)
    assert processor_seconds() - before < 0.25


def test_children_that_have_ended_count() -> None:
    before = processor_seconds()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
    assert processor_seconds() - before >= 0.3


def test_children_that_are_alive_count() -> None:
    context = multiprocessing.get_context("fork")
    done = context.Event()
    before = processor_seconds()
    child = context.Process(target=_work, args=(done,), daemon=True)
    child.start()
    try:
        assert done.wait(60)
        assert processor_seconds() - before >= 0.25
    finally:
        child.kill()
        child.join()


def _work(done: Any) -> None:
    while time.process_time() < 0.3:
        pass
    done.set()
    time.sleep(60)


def test_all_processes_count_together() -> None:
    two = SimpleNamespace(
        world_size=2, device=torch.device("cpu"), all_reduce=lambda value, reduce_op: value + 10  # the other's ten
    )  # fmt: skip
    assert Spent({"processor_seconds": 5.0}).state(two)["processor_seconds"] >= 15


def test_a_resumed_run_goes_on_counting(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    short = tiny_config(tmp_path / "data", "train.steps=4", "data.val=null")
    run_training(short, run.path, quiet=True)
    before = _last(run)
    run_training(tiny_config(tmp_path / "data", "data.val=null"), run.path, resume=True, quiet=True)
    after = _last(run)
    assert (before["images_seen"], after["images_seen"]) == (8, 16)
    assert after["processor_minutes"] > before["processor_minutes"] > 0


def _last(run: RunFolder) -> dict[str, float]:
    return dict(json.loads(run.metrics.read_text(encoding="utf-8").splitlines()[-1]))
