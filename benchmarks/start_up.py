"""How long a command takes to start, in multiples of `import torch`: help, a mistake in a config, a sound config."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.rows import Goal, Measured, Measurements, Row, Work

ROOT = Path(__file__).resolve().parents[1]
SOUND = ROOT / "configs" / "tiny" / "unet_shapes.yaml"
IMPORT = "import torch"


def rows() -> list[Row]:
    """A row a command. The goals on two quiet cores: 3 seconds for a check, 0.4 for a mistake, also without bytecode."""
    help_, mistake = ("--help",), ("check", str(SOUND), "train.stepz=1")
    check = ("check", str(SOUND))
    return [
        Row("help", "toolkit --help", _of(help_, 0), (Goal(IMPORT, most=0.1),), limit_seconds=0.1),
        Row("mistake", "check of a config with a mistake", _of(mistake, 2), (Goal(IMPORT, most=0.2),), limit_seconds=0.2),
        Row("mistake_cold", "the same, without any bytecode of ours", _of(mistake, 2, cold=True),
            (Goal(IMPORT, most=0.35),), limit_seconds=0.4),
        Row("check", "check of a sound config", _of(check, 0), (Goal(IMPORT, most=2.6),), budget=10, limit_seconds=3.0),
    ]  # fmt: skip


def _of(arguments: Sequence[str], code: int, *, cold: bool = False) -> functools.partial[Measurements]:
    return functools.partial(measure, arguments, code, cold)


def measure(arguments: Sequence[str], code: int, cold: bool, work: Work) -> Measurements:
    """A command and `import torch`, each in a process of its own.

    Args:
        arguments: of the command line, behind `toolkit`.
        code: the exit code that is expected; another is an error.
        cold: whether Python finds no compiled file of ours, as after the installation: the package is a fresh copy.
        work: rounds and a folder for the synthetic data.
    """
    data = [f"data.root={work.folder / 'data'}"] if arguments[0] == "check" else []

    def ours() -> Measured:
        with tempfile.TemporaryDirectory(dir=work.folder) as empty:
            if cold:
                shutil.copytree(ROOT / "toolkit", Path(empty, "toolkit"), ignore=shutil.ignore_patterns("__pycache__"))
            return in_process(["-m", "toolkit", *arguments, *data], code, Path(empty) if cold else ROOT)

    return work.in_turn({"toolkit": ours, IMPORT: lambda: in_process(["-c", "import torch"], 0)})


_RUNNER = """
import json, os, resource, subprocess, sys, time
began = time.perf_counter()
with open(sys.argv[1], "w") as told:
    code = subprocess.run(sys.argv[2:], stdout=told, stderr=told).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""
"""Started between: what a process begins with counts as its peak memory, and this one is small."""


def in_process(arguments: Sequence[str], code: int, folder: Path = ROOT) -> Measured:
    """Time and peak memory of a new interpreter. Raises RuntimeError with what it says when its exit code is another.

    Args:
        arguments: of the interpreter.
        code: the exit code that is expected.
        folder: it runs there, and the package lies there.
    """
    environment = {**os.environ, "PYTHONPATH": str(folder), "NO_ALBUMENTATIONS_UPDATE": "1"}
    with tempfile.NamedTemporaryFile("r") as told:
        command = [sys.executable, "-S", "-c", _RUNNER, told.name, sys.executable, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=True)
        found, seconds, processor, peak = json.loads(done.stdout)
        if found != code:
            raise RuntimeError(f"exit code {found}, not {code}: {told.read()[-500:]}")
    return Measured(seconds, processor, peak << (10 if sys.platform == "linux" else 0))


def inside_process(ready: str, work: str) -> Measured:
    """Time of some code in a new interpreter, and the memory it takes above what stood before it.

    Args:
        ready: Python that is run before anything is measured.
        work: Python that is measured.
    """
    code = f"""
import json, time
from benchmarks.rows import resident_bytes
{ready}
before = resident_bytes(reset=True)
wall, processor = time.perf_counter(), time.process_time()
{work}
wall, processor, after = time.perf_counter() - wall, time.process_time() - processor, resident_bytes()
print(json.dumps([wall, processor, after[1] - before[0] if after and before else None]))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_ALBUMENTATIONS_UPDATE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return Measured(*json.loads(done.stdout.splitlines()[-1]))
