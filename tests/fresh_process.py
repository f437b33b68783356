"""Other processes: a new interpreter for what is measured of a whole process, and waiting for one without a clock."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def run_fresh(code: str, *arguments: object) -> str:
    """What a new interpreter prints that runs `code` with these `sys.argv[1:]`; fails with what it says on stderr."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def wait_for(reached: Callable[[], Any], process: subprocess.Popen[Any]) -> None:
    """Until something is so in a running process, however slow the machine; fails when the process ends before."""
    while not reached():
        if process.poll() is not None and not reached():
            pytest.fail(f"the process ended with {process.returncode} before what was waited for")
        time.sleep(0.01)


def free_port() -> str:
    """A port of this machine that nobody listens on, for processes that are told where to meet."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return str(listener.getsockname()[1])
