"""The benchmarks still fit the package: every name they import is there, and each runs at toy size."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))

TOY = {
    "coco_eval.py": ["--images", "20", "--truths", "100", "--detections", "300", "--rounds", "1"],
    "detector.py": ["--height", "64", "--width", "96", "--repeat", "1"],
    "gpu.py": ["--config", "unet", "--batch", "2", "--size", "32", "64", "--steps", "1", "--rounds", "1"],
    "pool_indices.py": ["--size", "32", "48", "--rounds", "1"],
    "recompute.py": ["--size", "32", "64", "--batch", "2", "--rounds", "1"],
    "resampling.py": ["--maps", "9", "--map-resamples", "50", "--size", "64", "96", "--images", "20", "--truths", "100",
                      "--detections", "300", "--resamples", "20", "--rounds", "1"],
    "segmentation_eval.py": ["--size", "64", "96", "--rounds", "1", "--evaluated", "64", "96", "--images", "1"],
    "train_step.py": ["--config", "configs/tiny/unet_shapes.yaml", "--steps", "2", "--smp-encoder", "", "data.batch_size=2"],
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_what_a_benchmark_imports_is_there(script: Path) -> None:
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("toolkit"):
            module = importlib.import_module(node.module)
            assert not [alias.name for alias in node.names if not hasattr(module, alias.name)]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_benchmark_runs_at_toy_size(script: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(script), *TOY[script.name]]
    command += [f"data.root={tmp_path / 'data'}"] if script.name == "train_step.py" else []
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
