"""One row in a process of its own: its threads are set before anything is imported, and its memory dies with it.

    python -m benchmarks.measure benchmarks.segmentation_eval:confusion [--toy] [--scale 4] [--budget 10] [--rounds 3] [--only-ours]

prints the runs of every way as one JSON object. `in_fresh_process` is that for other files.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from benchmarks.machine import load
from benchmarks.rows import Missing, Row, Work

FOLDER = Path(__file__).resolve().parent
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS")


def row_modules() -> list[str]:
    """Modules of this folder that have a function `rows`, without importing any."""
    found = []
    for path in sorted(FOLDER.glob("*.py")):
        parsed = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "rows" for node in parsed.body):
            found.append(f"benchmarks.{path.stem}")
    return found


def rows_by_module() -> dict[str, list[Row]]:
    """Every row, by the module that has it."""
    return {module: importlib.import_module(module).rows() for module in row_modules()}


def chosen(names: list[str]) -> list[tuple[str, Row]]:
    """Rows with their modules; SystemExit for a name that is none."""
    rows = [(module, row) for module, own in rows_by_module().items() for row in own]
    known = [row.name for _, row in rows]
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no row is called {', '.join(unknown)}; there are {', '.join(known)}")
    return [(module, row) for module, row in rows if not names or row.name in names]


def measure(row: Row, work: Work) -> dict[str, Any]:
    """The runs of each way as plain values; `failed` with the reason where the row broke."""
    began = load()
    try:
        with work:
            measurements = row.measure(work)
    except Exception as error:
        traceback.print_exc()
        told = (str(error).strip().splitlines() or [""])[0]
        return {"failed": f"{type(error).__name__}: {told}"[:300]}
    runs = {
        way: {"missing": taken.reason} if isinstance(taken, Missing) else [dataclasses.asdict(run) for run in taken]
        for way, taken in measurements.items()
    }
    return {"runs": runs, "load": [began, load()], "peak_bytes": work.peak_bytes}


def in_fresh_process(module: str, row: Row, *, timeout: float = 600, **options: Any) -> dict[str, Any]:
    """`measure` in a process that starts with the row's threads; `options` are those of the command line."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "row.json"
        words = [f"--{key.replace('_', '-')}" + ("" if value is True else f"={value}")
                 for key, value in options.items() if value is not False]  # fmt: skip
        command = [sys.executable, "-m", "benchmarks.measure", f"{module}:{row.name}", f"--out={out}", *words]
        environment = {**os.environ, **dict.fromkeys(_THREADS, str(row.threads)), "NO_ALBUMENTATIONS_UPDATE": "1"}
        try:
            done = subprocess.run(
                command,
                cwd=FOLDER.parent,
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"took more than {timeout:.0f} s"}
        if not out.exists():
            last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
            return {"failed": f"the process ended with {done.returncode}: {last}"[:300]}
        return json.loads(out.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", help="MODULE:NAME")
    parser.add_argument("--toy", action="store_true", help="the smallest sizes, one round")
    parser.add_argument("--scale", type=int, default=1, help="how many times the usual work")
    parser.add_argument("--budget", type=float, help="seconds for the rounds; the row's own by default")
    parser.add_argument("--rounds", type=int, help="at least so many; the row's own by default")
    parser.add_argument("--only-ours", action="store_true", help="no peers, and the peak of memory")
    parser.add_argument("--out", type=Path, help="a file in the place of standard output")
    arguments = parser.parse_args()
    module, _, name = arguments.row.partition(":")
    row = next(row for row in importlib.import_module(module).rows() if row.name == name)
    set_threads(row.threads)
    budget = row.budget if arguments.budget is None else arguments.budget
    work = Work(arguments.toy, arguments.scale, budget, arguments.rounds or row.rounds, arguments.only_ours)
    found = json.dumps(measure(row, work))
    if arguments.out:
        arguments.out.write_text(found, encoding="utf-8")
    else:
        print(found)


def set_threads(threads: int) -> None:
    """The libraries that ask no variable of the environment are told."""
    import cv2
    import torch

    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
