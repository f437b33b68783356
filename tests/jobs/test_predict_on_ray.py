"""The Ray job leaves what one process leaves, also when one of its worker processes is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prediction_jobs import picture_folder, tree
from tiny_run import tiny_config

from toolkit.jobs.predict import run_prediction
from toolkit.jobs.train import run_training

pytest.importorskip("ray", reason="ray is not installed: pip install 'toolkit-dense[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")]


def workers() -> list[int]:
    """Process numbers of Ray's workers that hold the model."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            name = path.read_bytes()
        except OSError:
            continue
        if b"ray::" in name and b"Worker" in name:
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize(
    ("formats", "killed"),
    [("mask,overlay", False), ("mask,overlay", True), ("mask,probabilities8,heat,geojson", False)],
)
def test_ray_leaves_what_one_process_leaves(formats: str, killed: bool, tmp_path: Path) -> None:
    pictures = picture_folder(tmp_path / "in", 40)
    pages = [Image.fromarray(np.full((32, 40, 3), gray, np.uint8)) for gray in (0, 90, 200)]
    pages[0].save(pictures / "pages.tif", save_all=True, append_images=pages[1:])
    run = tmp_path / "run"
    run_training(tiny_config(tmp_path / "data", "train.steps=2"), run, quiet=True)
    arguments = [str(run), str(pictures), "--out", str(tmp_path / "ray"), "--workers", "2", "--batch-size", "2"]
    arguments += ["--pages", "all", "--threads", "1", "--format", formats]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
    }
    job = subprocess.Popen(
        [sys.executable, "-m", "toolkit.cli.predict_ray", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    deaths = 0
    while killed and job.poll() is None and not deaths:
        time.sleep(0.05)
        if len(list((tmp_path / "ray").rglob("*_overlay.jpg"))) >= 3:
            for number in workers()[:1]:
                os.kill(number, signal.SIGKILL)
                deaths += 1
    _, said = job.communicate(timeout=580)
    assert job.returncode == 1, said  # one picture is damaged
    assert deaths == killed
    options: dict[str, Any] = {"batch_size": 2, "threads": 1, "pages": "all"}
    found = run_prediction(run, [pictures], tmp_path / "plain", formats.split(","), **options)
    assert found["images"] == 43
    assert len(found["failed"]) == 1
    assert tree(tmp_path / "ray") == tree(tmp_path / "plain")
