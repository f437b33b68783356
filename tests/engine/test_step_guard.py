"""Steps that cannot be done end with a sentence: too little memory, no deterministic form, no compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import tiny_config, write_tiny
from torch import Tensor

from toolkit.engine import process
from toolkit.engine.settings import TrainSettings
from toolkit.engine.step_guard import training_remedies
from toolkit.errors import UserError
from toolkit.jobs.train import run_training
from toolkit.models.vision_model import VisionModel

LIMITED = """
import resource, sys
from toolkit.cli.main import run
import toolkit.jobs.train, albumentations, lightning_fabric
def used():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmSize")).split()[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (used() + int(sys.argv[1]),) * 2)
sys.exit(run(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_a_batch_that_does_not_fit(data: Path, tmp_path: Path) -> None:
    """400 MB more than the program itself, and a step that wants several times as much."""
    config, run = write_tiny(tmp_path, data), tmp_path / "run"
    command = [sys.executable, "-c", LIMITED, str(400 << 20), "train", str(config), "--run", str(run)]
    command += ["model.backbone.width=64", "data.batch_size=256", "train.save_every=1"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 1, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "memory: training step 1 does not fit into the memory of cpu; " in last
    assert "the batch is 256 x 3 x 32 x 40, of which backbone and neck keep about" in last
    assert "set data.batch_size=128 and train.accumulate=2: the same step in parts" in last
    assert last.index("batch_size") < last.index("train.recompute") < last.index("bf16-mixed") < last.index("crops")


def test_what_was_saved_is_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, steps = VisionModel.loss, [0]

    def fails(self: VisionModel, batch: Any) -> dict[str, Tensor]:
        steps[0] += 1
        if steps[0] == 6:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return real(self, batch)

    monkeypatch.setattr(VisionModel, "loss", fails)
    with pytest.raises(
        UserError, match=rf"step 6 does not.*20 MiB more.*--resume --allow-changes --run-folder {tmp_path}"
    ):
        run_training(tiny_config(data, "evaluate.loss=false"), tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "last.state").is_file()


def test_bf16_is_a_remedy_where_auto_does_not_take_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: VisionModel, batch: Any) -> dict[str, Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(process, "bf16_instructions", lambda: "")
    monkeypatch.setattr(VisionModel, "loss", fails)
    with pytest.raises(UserError, match=r"step 1 does not.*train\.precision=bf16-mixed: about half"):
        run_training(tiny_config(data, "train.precision=auto"), tmp_path / "run", quiet=True)


def test_an_evaluation_that_does_not_fit(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: VisionModel, batch: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(VisionModel, "predict", fails)
    with pytest.raises(UserError, match=r"memory: evaluation does not fit into .*set evaluate.batch_size=1"):
        run_training(tiny_config(data, "evaluate.loss=false"), tmp_path / "run", quiet=True)


def test_remedies_are_those_that_are_left() -> None:
    settings = TrainSettings(steps=1, recompute="blocks", precision="bf16-mixed")
    assert training_remedies(settings, 1, 1) == ["smaller images or crops in data.train.transforms"]
    settings = TrainSettings(steps=1, recompute="units", accumulate=3)
    first, *others = training_remedies(settings, 3 * 5, 2)
    assert "data.batch_size=2 and train.accumulate=9" in first
    assert [one.split(":")[0] for one in others] == [
        "train.recompute=blocks",
        "train.precision=bf16-mixed",
        "smaller images or crops in data.train.transforms",
    ]


def test_an_operation_without_a_deterministic_form_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: VisionModel, batch: Any) -> Any:
        torch.ones(1, 1, 2, 2).put_(torch.zeros(1, dtype=torch.int64), torch.ones(1), accumulate=False)

    monkeypatch.setattr(VisionModel, "loss", fails)
    with pytest.raises(UserError, match=r"train.deterministic: the operation put_ has no deterministic form.*=false"):
        run_training(tiny_config(data, "train.deterministic=true"), tmp_path / "run", quiet=True)


def test_a_failing_compiler(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.exc import InvalidCxxCompiler

    def fails(self: VisionModel, batch: Any) -> Any:
        raise InvalidCxxCompiler

    monkeypatch.setattr(VisionModel, "loss", fails)
    monkeypatch.setattr(torch, "compile", lambda function: function)
    with pytest.raises(UserError, match=r"train.compile: this model could not be compiled: No working C\+\+ compiler"):
        run_training(tiny_config(data, "train.compile=true"), tmp_path / "run", quiet=True)
    with pytest.raises(InvalidCxxCompiler):  # without compile it would be ours to explain
        run_training(tiny_config(data), tmp_path / "other", quiet=True)
