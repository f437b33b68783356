"""An exported file asked in a process of its own, in which `fresh_side.py` runs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import Problem, UserError
from toolkit.export import fresh_side


def run_fresh(
    file: Path, target: str, pictures: Sequence[Path], folder: Path
) -> tuple[Iterator[dict[str, np.ndarray]], dict[str, Any], list[float]]:
    """Answers of an exported file from a fresh process: arrays of each picture, the file's metadata, seconds of each.

    The arrays are read as they are asked for, while the folder is there.

    Raises UserError with what the process said when it fails.

    Args:
        file: the exported file, with `run.py` beside it.
        target: what the file is of: onnx, openvino or torch.
        pictures: files of pictures, in formats that Pillow reads.
        folder: for what is handed over.
    """
    out = Path(tempfile.mkdtemp(dir=folder))
    without = ["toolkit", "cv2"] + ([] if target == "torch" else ["torch"])
    job = {
        "runner": str(file.with_name("run.py").absolute()),
        "file": str(file.absolute()),
        "pictures": [str(Path(path).absolute()) for path in pictures],
        "out": str(out),
        "without": without,
    }
    told = out / "job.json"
    told.write_text(json.dumps(job))
    command = [sys.executable, "-IB", str(Path(fresh_side.__file__)), str(told)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()
        message = f"cannot be run by a process of its own: {last[-1] if last else f'exit {done.returncode}'}"
        raise UserError(Problem(file, message))
    return (
        _answers(out, len(pictures)),
        json.loads((out / "notes.json").read_text()),
        json.loads((out / "seconds.json").read_text()),
    )


def _answers(folder: Path, count: int) -> Iterator[dict[str, np.ndarray]]:
    for number in range(count):
        with np.load(folder / f"{number}.npz") as arrays:
            yield {name.replace("|", "/"): arrays[name] for name in arrays.files}
