"""Twenty kills at random moments: the run that was killed and continued each time is the uninterrupted run, to the bit."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_run import tiny_config

from toolkit.config.plain import to_yaml
from toolkit.engine.checkpoint import load_state
from toolkit.jobs.train import run_training

KILLS = 20
STEPS = 80
# Everything that has a state of its own: dropout, augmentation, loader workers, averages, momentum, a schedule, clipping,
# parts of their own rates and one that starts late; evaluated and saved so often that kills fall into both.
OPTIONS = [
    f"train.steps={STEPS}", "data.workers=2", "train.save_every=1", "train.log_every=1", "train.evaluate_every=2",
    "train.ema_decay=0.9", "train.clip_norm=1.0", "train.warmup_steps=5", "train.lr_factors={backbone: 0.5}",
    "train.freeze_until={neck: 9}", "train.accumulate=2", "evaluate.loss=true",
]  # fmt: skip
TIMED = {"images_per_second", "data_wait", "memory", "memory_mib", "processor_minutes"}


def events(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines]


def contents(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return load_file(path), file.metadata()


def lines_of(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def half_written(run: Path) -> Callable[[], bool]:
    """Whether a file is just being written that was not there at first: left over from the kill before."""
    before = set(run.glob(".*.tmp"))
    return lambda: bool(set(run.glob(".*.tmp")) - before)


class Moments:
    """When to kill, by kind. None comes later than a few steps after the start, so that 20 kills never see the end."""

    def __init__(self, run: Path, seed: int) -> None:
        self.run, self.random = run, random.Random(seed)

    def wait(self, kind: str, process: subprocess.Popen[bytes]) -> None:
        """Returns at the moment to kill, or when the process has ended."""
        if kind == "start":
            metrics, steps = self.run / "metrics.jsonl", lines_of(self.run / "metrics.jsonl")
            self._until(lambda: lines_of(metrics) > steps + 1, process, self.random.uniform(0.0, 8.0))
            return
        log, lines = self.run / "train.log", lines_of(self.run / "train.log")
        self._until(lambda: "continues at" in tail(log, lines) or "run  " in tail(log, lines), process)
        if kind == "save":
            for _ in range(self.random.randint(1, 4)):
                self._until(lambda: not half_written(self.run)(), process, 0.01)
                self._until(half_written(self.run), process)
            return
        metrics, wanted = self.run / "metrics.jsonl", self.random.randint(1, 4)
        count = lines_of(metrics)
        self._until(lambda: lines_of(metrics) >= count + wanted, process)
        if kind == "evaluate":
            self._until(lambda: last_is_before_evaluation(metrics), process, 10)
        time.sleep(self.random.uniform(0.0, 0.03))

    @staticmethod
    def _until(reached: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not reached() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.0005)


def tail(path: Path, lines: int) -> str:
    try:
        return "\n".join(path.read_text().splitlines()[lines:])
    except FileNotFoundError:
        return ""


def last_is_before_evaluation(metrics: Path) -> bool:
    """The loss of an even step is written, its evaluation not yet."""
    try:
        event = json.loads(metrics.read_text().splitlines()[-1])
    except (OSError, ValueError, IndexError):
        return False
    return "loss" in event and event["step"] % 2 == 0


@pytest.mark.slow
@pytest.mark.timeout(0)  # twenty starts take as long as they take
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    config, run, whole = tmp_path / "tiny.yaml", tmp_path / "run", tmp_path / "whole"
    asked = tiny_config(tmp_path / "data", *OPTIONS)
    config.write_text(to_yaml(asked))
    run_training(asked, whole, quiet=True)
    command = [sys.executable, "-m", "toolkit", "train", str(config), "--run", str(run)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    moments, kills, reached = Moments(run, 20), 0, []
    kinds = ["start", "step", "save", "evaluate"] * (KILLS // 4)
    while kills < KILLS:
        resume = ["--resume"] if run.exists() else []  # the first may die before its folder is made
        process = subprocess.Popen([*command, *resume], stderr=subprocess.PIPE)
        moments.wait(kinds[kills], process)
        process.kill()
        _, said = process.communicate()
        assert process.returncode == -9, said.decode()[-2000:]
        kills += 1
        reached.append(load_state(run / "last.state").step if (run / "last.state").exists() else 0)
    assert reached == sorted(reached)  # nothing saved is ever lost
    done = subprocess.run([*command, "--resume"], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]

    for name in ("last", "best"):
        (first, told), (second, said_too) = (contents(folder / f"{name}.safetensors") for folder in (whole, run))
        assert told == said_too
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
    assert_same_state(whole / "last.state", run / "last.state")
    assert events(whole) == events(run)
    assert not list(run.glob(".*"))  # what the kills left half written is gone
    log = (run / "train.log").read_text()
    assert log.count(f"done: {STEPS} steps") == 1
    assert log.count("continues at step") >= KILLS // 2
    assert len(set(reached)) >= KILLS // 4  # the kills fell at different places


def assert_same_state(one: Path, two: Path) -> None:
    """All of two states but the processor's time."""
    first, second = (state._replace(spent={"images": state.spent["images"]}) for state in map(load_state, (one, two)))
    for name, value, other in zip(first._fields, first, second, strict=True):
        assert same(value, other), name


def same(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)
