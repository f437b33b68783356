"""A training says what it has to say itself: no library's notice that a user cannot act on stands between its lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import write_tiny

from toolkit.engine.machine import usable_cores


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["train.precision=bf16-mixed", f"data.workers={usable_cores() + 1}"], ["train.devices=2"]]
)
def test_every_line_is_our_own(tmp_path: Path, options: list[str]) -> None:
    command = [sys.executable, "-m", "toolkit", "train", str(write_tiny(tmp_path, tmp_path / "data"))]
    command += ["--run", str(tmp_path / "run"), "train.steps=2", *options]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    logged = (tmp_path / "run" / "train.log").read_text().splitlines()
    assert [line for line in done.stderr.splitlines() if line not in logged] == []
