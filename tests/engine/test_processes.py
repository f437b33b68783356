"""Two processes train and measure what one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_run import tiny_config, write_tiny

from toolkit.config.jobs import run_training

REPOSITORY = Path(__file__).resolve().parents[2]
# Batch statistics and dropout are each process' own; without them the two trainings are the same sums.
PLAIN = ["model.backbone.norm=none", "model.neck.norm=none", "model.backbone.dropout=0.0", "train.log_every=1"]


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    config = write_tiny(tmp_path, tmp_path / "data")
    run_training(tiny_config(tmp_path / "data", *PLAIN), tmp_path / "one", quiet=True)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29581", "--"]
    command = [*launch, str(REPOSITORY / "tools" / "train.py"), str(config), *PLAIN, "--run", str(tmp_path / "two")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=400, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = events(tmp_path / "one"), events(tmp_path / "two")
    assert [event["step"] for event in one] == [event["step"] for event in two]
    for first, second in zip(one, two, strict=True):
        if "loss" in first:
            assert second["loss"] == pytest.approx(first["loss"], rel=1e-4)
    assert two[-1]["val/mIoU"] == pytest.approx(one[-1]["val/mIoU"], abs=1e-3)
    assert done.stderr.count("done: 8 steps") == 1  # one process speaks
