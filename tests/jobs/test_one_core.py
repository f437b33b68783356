"""A machine of one core is said, and gives the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

COMMAND = "import os, sys\n{limit}\nfrom toolkit.cli.main import main\nsys.exit(main())"
SMALL = ["configs/tiny/unet_shapes.yaml", "train.steps=3", "train.evaluate_every=3", "train.save_every=3", "train.threads=1",
         "data.batch_size=2", "model.backbone.width=4", "evaluate.record=false"]  # fmt: skip


def trained(folder: Path, limit: str, workers: int) -> tuple[dict[str, Tensor], str]:
    """The weights after three steps, and what was said."""
    words = [*SMALL, f"data.root={folder.parent / 'data'}", f"data.workers={workers}", "--run", str(folder), "--json"]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND.format(limit=limit), "train", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = Path(json.loads(done.stdout)["run"])
    return load_file(run / "last.safetensors"), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a core")
def test_one_core_is_said_and_changes_nothing(tmp_path: Path) -> None:
    one = min(os.sched_getaffinity(0))
    bound, said = trained(tmp_path / "one", f"os.sched_setaffinity(0, {{{one}}})", workers=2)
    free, _ = trained(tmp_path / "free", "", workers=0)
    assert bound.keys() == free.keys()
    assert all(torch.equal(bound[name], free[name]) for name in bound)
    assert "1 core(s)" in said
    assert "data.workers" in said
