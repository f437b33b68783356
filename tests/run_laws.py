"""What two run folders have to share when one was stopped and continued, and how to stop one."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from toolkit.config.sections import Config
from toolkit.engine import step as step_module
from toolkit.engine.checkpoint import load_state
from toolkit.engine.interrupt import Interrupted
from toolkit.jobs.train import run_training

OF_THE_MACHINE = ("images_per_second", "data_wait", "memory_mib", "processor_minutes")


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run / f"{name}.safetensors")


def events(run: Path) -> list[dict[str, Any]]:
    """Events without what the machine and its load decide."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in OF_THE_MACHINE} for line in lines]


def assert_same_run(a: Path, b: Path) -> None:
    """The same weights (best, last, and both kinds in the state) and the same events."""
    for name in ("last", "best"):
        if (a / f"{name}.safetensors").exists() or (b / f"{name}.safetensors").exists():
            assert_same_tensors(weights(a, name), weights(b, name), name)
    first, second = load_state(a / "last.state"), load_state(b / "last.state")
    assert_same_tensors(first.model, second.model, "model")
    assert_same_tensors(first.average, second.average, "average")
    assert (first.step, first.evaluated, first.stale, first.best) == (
        second.step, second.evaluated, second.stale, second.best,
    )  # fmt: skip
    assert events(a) == events(b)


def assert_same_tensors(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], name: str) -> None:
    assert first.keys() == second.keys()
    for key in first:
        assert torch.equal(first[key], second[key]), f"{name}: {key}"


def stop_after(config: Config, run: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after `step` updates."""
    real = step_module.set_learning_rate

    def stop(optimizer: Any, schedule: Any, at: int, settings: Any) -> float:
        if at == step - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(optimizer, schedule, at, settings)

    with monkeypatch.context() as patch:
        patch.setattr(step_module, "set_learning_rate", stop)
        with pytest.raises(Interrupted):
            run_training(config, run, quiet=True)
    assert load_state(run / "last.state").step == step
