"""Laws of the engine: a resumed run is the uninterrupted run, to the bit; workers change nothing; nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fresh_process import wait_for
from safetensors.torch import load_file
from tiny_run import tiny_config, write_tiny

from toolkit.engine import step as step_module
from toolkit.engine.checkpoint import load_state
from toolkit.engine.interrupt import Interrupted
from toolkit.errors import CheckpointError, ConfigError, UserError
from toolkit.jobs import assemble as job_module
from toolkit.jobs.evaluate import RecordWishes, run_evaluation
from toolkit.jobs.train import run_training

TIMED = ("images_per_second", "data_wait", "memory_mib", "processor_minutes")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    run_training(tiny_config(data), run, quiet=True)
    return run


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run / f"{name}.safetensors")


def events(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines]


def assert_same_run(a: Path, b: Path) -> None:
    for name in ("last", "best"):
        first, second = weights(a, name), weights(b, name)
        assert first.keys() == second.keys()
        for key in first:
            assert torch.equal(first[key], second[key]), f"{name}: {key}"
    assert events(a) == events(b)


def test_files_of_a_run(whole: Path) -> None:
    assert {path.name for path in whole.iterdir()} == {
        "config.yaml", "environment.json", "metrics.jsonl", "train.log", "last.safetensors", "best.safetensors",
        "last.state", "data.json",
    }  # fmt: skip
    steps = [(event["step"], "loss" in event) for event in events(whole)]
    assert steps == [(3, True), (4, False), (6, True), (8, True), (8, False)]
    assert json.loads((whole / "environment.json").read_text())["seed"] == 0


def test_the_same_seed_repeats_and_another_differs(whole: Path, data: Path, tmp_path: Path) -> None:
    run_training(tiny_config(data), tmp_path / "again", quiet=True)
    assert_same_run(whole, tmp_path / "again")
    run_training(tiny_config(data, "seed=1"), tmp_path / "other", quiet=True)
    key = "backbone.levels.0.0.conv.weight"
    assert not torch.equal(weights(whole)[key], weights(tmp_path / "other")[key])


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_workers_change_nothing(whole: Path, data: Path, tmp_path: Path, workers: int) -> None:
    run_training(tiny_config(data, f"data.workers={workers}"), tmp_path / "run", quiet=True)
    assert_same_run(whole, tmp_path / "run")


@pytest.mark.parametrize("step", [1, 4, *(pytest.param(step, marks=pytest.mark.slow) for step in (3, 5, 7))])
def test_resumed_after_a_stop_is_the_uninterrupted_run(
    whole: Path, data: Path, tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after `step` updates: saved there, continued to the same end."""
    run = tmp_path / "run"
    real = step_module.set_learning_rate

    def stop_at(optimizer: Any, schedule: Any, at: int, settings: Any) -> float:
        if at == step - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(optimizer, schedule, at, settings)

    with monkeypatch.context() as patch:
        patch.setattr(step_module, "set_learning_rate", stop_at)
        with pytest.raises(Interrupted):
            run_training(tiny_config(data), run, quiet=True)
    assert load_state(run / "last.state").step == step
    run_training(tiny_config(data), run, resume=True, quiet=True)
    assert_same_run(whole, run)


def test_a_stop_during_evaluation_is_repeated_at_resume(
    whole: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = job_module.evaluate
    with monkeypatch.context() as patch:

        def stopped(*args: Any, **named: Any) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return real(*args, **named)

        patch.setattr(job_module, "evaluate", stopped)
        with pytest.raises(Interrupted):
            run_training(tiny_config(data), tmp_path / "run", quiet=True)
    run_training(tiny_config(data), tmp_path / "run", resume=True, quiet=True)
    assert_same_run(whole, tmp_path / "run")


def test_killed_in_the_middle_and_resumed(whole: Path, data: Path, tmp_path: Path) -> None:
    """SIGKILL, which nothing can catch: the run goes on from the last whole state."""
    config, run = write_tiny(tmp_path, data), tmp_path / "run"
    command = [sys.executable, "-m", "toolkit", "train", str(config), "--run", str(run)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for((run / "last.state").exists, process)
    process.kill()
    process.wait()
    run_training(tiny_config(data), run, resume=True, quiet=True)
    assert_same_run(whole, run)


def test_more_steps_may_be_asked_for_at_resume_and_nothing_else(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_training(tiny_config(data, "train.steps=4"), run, quiet=True)
    assert run_training(tiny_config(data, "train.steps=6"), run, resume=True, quiet=True)["step"] == 6
    with pytest.raises(ConfigError, match=r"train\.optimizer\.lr"):
        run_training(tiny_config(data, "train.steps=8", "train.optimizer.lr=0.02"), run, resume=True, quiet=True)


def test_accumulation_is_a_larger_batch(data: Path, tmp_path: Path) -> None:
    """Without batch statistics and dropout, 2 batches of 2 make the step of one batch of 4."""
    plain = [
        "model.backbone.norm=none",
        "model.neck.norm=none",
        "model.backbone.dropout=0.0",
        "train.optimizer={name: sgd, lr: 0.1}",
    ]
    run_training(tiny_config(data, *plain, "data.batch_size=4"), tmp_path / "a", quiet=True)
    run_training(tiny_config(data, *plain, "train.accumulate=2"), tmp_path / "b", quiet=True)
    first, second = weights(tmp_path / "a"), weights(tmp_path / "b")
    for key in first:
        torch.testing.assert_close(first[key], second[key], rtol=1e-4, atol=1e-6)


def test_evaluate_repeats_the_number_of_the_run(whole: Path, tmp_path: Path) -> None:
    best = max(event["val/mIoU"] for event in events(whole) if "val/mIoU" in event)
    first, second = RecordWishes(out=tmp_path / "best"), RecordWishes(out=tmp_path / "last")
    assert run_evaluation(whole, wishes=first)["metrics"]["mIoU"] == best
    last = run_evaluation(whole / "last.safetensors", overrides=["data.batch_size=1"], wishes=second)
    assert last["metrics"]["mIoU"] == events(whole)[-1]["val/mIoU"]


def test_mixed_precision_reaches_the_loss(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.heads.pixel import PixelHead

    seen = set()
    real = PixelHead.forward

    def noted(self: PixelHead, pyramid: Any) -> Any:
        logits = real(self, pyramid)
        seen.add((self.training, logits.dtype))
        return logits

    monkeypatch.setattr(PixelHead, "forward", noted)
    run_training(tiny_config(data, "train.precision=bf16-mixed", "train.steps=1"), tmp_path / "run", quiet=True)
    assert (True, torch.bfloat16) in seen


def test_a_loss_that_is_not_finite_stops_with_step_terms_and_files(data: Path, tmp_path: Path) -> None:
    config = tiny_config(
        data, "train.optimizer={name: sgd, lr: 1e38}", "model.backbone.norm=none", "model.neck.norm=none"
    )
    with pytest.raises(UserError, match=r"not finite at step \d+: .*cross_entropy.*images/train/.*train.optimizer.lr"):
        run_training(config, tmp_path / "run", quiet=True)


def test_a_used_folder_is_never_overwritten(whole: Path, data: Path, tmp_path: Path) -> None:
    before = (whole / "last.safetensors").stat().st_mtime_ns
    with pytest.raises(ConfigError, match=r"--resume.*whole-2"):
        run_training(tiny_config(data), whole, quiet=True)
    assert (whole / "last.safetensors").stat().st_mtime_ns == before
    first = run_training(tiny_config(data, "train.steps=1"), root=str(tmp_path), quiet=True)
    second = run_training(tiny_config(data, "train.steps=1"), root=str(tmp_path), quiet=True)
    assert Path(first["run"]).name == "tiny"
    assert Path(second["run"]).name == "tiny-2"


def test_a_full_disk_keeps_the_last_good_state(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    run_training(tiny_config(data, "train.steps=2"), run, quiet=True)
    before = (run / "last.state").read_bytes()
    real = torch.save

    def full(value: Any, file: Any) -> None:
        real(value, file)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"last\.state"):
        run_training(tiny_config(data, "train.steps=4"), run, resume=True, quiet=True)
    assert (run / "last.state").read_bytes() == before
    assert not list(run.glob(".*"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b"",
        lambda b: b"\x80\x04cos\nsystem\n(S'echo'\ntR.",
        lambda b: os.urandom(500),
    ],
)
def test_a_damaged_state_is_refused_in_a_sentence(whole: Path, tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "last.state"
    path.write_bytes(damage((whole / "last.state").read_bytes()))
    with pytest.raises(CheckpointError, match=r"last\.state: is"):
        load_state(path)


def test_nothing_to_resume(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run folder"):
        run_training(tiny_config(data), tmp_path / "none", resume=True, quiet=True)


def test_a_run_that_failed_before_it_saved_may_start_again(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    broken = "train.optimizer={name: sgd, lr: 1e38}"
    with pytest.raises(UserError, match="not finite"):
        run_training(tiny_config(data, broken, "model.backbone.norm=none", "model.neck.norm=none"), run, quiet=True)
    if not (run / "last.state").exists():
        run_training(tiny_config(data, "train.steps=1"), run, quiet=True)
    assert (run / "last.state").exists()


def test_what_a_kill_left_half_written_is_removed(whole: Path, data: Path, tmp_path: Path) -> None:
    """At the resume, and when a run that never saved is started again in its folder; other files are nobody's leftovers."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    leftovers = [".last.state.123.tmp", ".best.safetensors.9.tmp", ".metrics.jsonl.77.tmp", ".tmpA1b2C3", ".writable"]
    for name in [*leftovers, ".mine.tmp"]:
        (run / name).write_bytes(b"half")
    run_training(tiny_config(data, "train.steps=9"), run, resume=True, quiet=True)
    assert [path.name for path in run.glob(".*")] == [".mine.tmp"]
    for resume in (False, True):
        never = tmp_path / f"never_{resume}"
        never.mkdir()
        for name in [*leftovers, "config.yaml", "train.log"]:
            (never / name).write_bytes(b"not whole")
        run_training(tiny_config(data, "train.steps=1"), never, resume=resume, quiet=True)
        assert not list(never.glob(".*"))
        assert "not whole" not in (never / "train.log").read_text()
