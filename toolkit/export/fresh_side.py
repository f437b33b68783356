"""The exported side of a certificate, in a process of its own: `python -I fresh_side.py JOB.json`. Imports no torch, no toolkit.

It reads files with the runner that lies beside the export, so that the runner is proved too, and saves what comes out.
JOB.json: {"runner", "file", "pictures": [paths], "out": folder, "without": [modules that must not be there]}.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


def load_runner(path: str) -> ModuleType:
    """The `run.py` of an export, as a module. Raises ImportError for a file that is none."""
    spec = importlib.util.spec_from_file_location("run", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(job: dict[str, Any]) -> None:
    """Runs the program on every picture: NUMBER.npz with its arrays and `given`, and seconds.json."""
    runner = load_runner(job["runner"])
    program, notes = runner.load(job["file"])
    seconds = []
    for number, path in enumerate(job["pictures"]):
        given = runner.read(path, notes)
        began = time.perf_counter()
        found = program(given)
        seconds.append(time.perf_counter() - began)
        np.savez(
            Path(job["out"]) / f"{number}.npz",
            given=given,
            **{name.replace("/", "|"): one for name, one in found.items()},
        )
    there = [name for name in job["without"] if name in sys.modules]
    if there:
        raise SystemExit(f"{', '.join(there)} was imported")
    (Path(job["out"]) / "notes.json").write_text(json.dumps(notes))
    (Path(job["out"]) / "seconds.json").write_text(json.dumps(seconds))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
