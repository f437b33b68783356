"""The machine a run is made on: how many cores it may use, and the versions and names written beside the weights."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import torch

from toolkit.version import __version__, package_version

_BUSY = 0.9
"""Share of the machine's cores that others may keep busy before it is worth a word."""


def usable_cores(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores of the machine, less those this process may not run on (affinity) or may not use up (a container's quota)."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(root)
    return max(1, min(there, math.ceil(quota))) if quota is not None else there


def _quota(root: Path) -> float | None:
    """Cores a control group may use at a time, version 2 (cpu.max) or 1; None without a limit."""
    try:
        if (root / "cpu.max").exists():
            limit, period = (root / "cpu.max").read_text(encoding="ascii").split()
        else:
            limit = (root / "cpu/cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text(encoding="ascii").strip()
        return int(limit) / int(period) if limit not in ("max", "-1") else None
    except (OSError, ValueError):
        return None


def crowding(threads: int, processes: int, workers: int, cores: int, load: float, machine: int) -> list[str]:
    """Sentences about cores that are asked for too often; none when all is well.

    Args:
        threads: threads of each of the training processes.
        processes: number of training processes on this machine.
        workers: number of loader processes of each training process.
        cores: number of cores that may be used.
        load: processes that ran or waited during the last minute, on the whole machine.
        machine: number of cores of the whole machine.
    """
    found = []
    if threads * processes > cores:
        asked = f"{threads * processes} threads" + (f" ({processes} processes of {threads})" if processes > 1 else "")
        found.append(f"{asked} share {cores} core(s): set train.threads to {max(1, cores // processes)}")
    if processes > 1 and workers * processes > cores:  # of one process the check has spoken
        found.append(f"{workers * processes} loader processes share {cores} core(s): lower data.workers")
    if load > _BUSY * machine:
        others = f"other work keeps the machine busy (load {load:.1f} on {machine} core(s))"
        found.append(f"{others}: steps may take several times as long")
    return found


def load_average() -> float:
    """Of the last minute; 0 where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return 0.0


_PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "opencv-python-headless",
    "albumentations",
    "segmentation-models-pytorch",
    "timm",
    "pycocotools",
    "lightning-fabric",
)


def bf16_instructions() -> Literal["AMX", "AVX-512", ""]:
    """What this processor has for bfloat16: matrix units, vectors, or nothing that PyTorch knows.

    PyTorch tells by private functions, which older versions lack.
    """
    checks: tuple[tuple[str, Literal["AMX", "AVX-512"]], ...] = (
        ("_is_amx_tile_supported", "AMX"),
        ("_is_avx512_bf16_supported", "AVX-512"),
    )
    return next((name for check, name in checks if getattr(torch.cpu, check, lambda: False)()), "")


def environment(device: str, seed: int) -> dict[str, Any]:
    """Plain values: toolkit, python and package versions, git revision of the working directory, device, seed, command."""
    return {
        "toolkit": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: package_version(name) for name in _PACKAGES},
        "git": _revision(),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "seed": seed,
        "command": sys.argv,
    }


def _revision() -> str | None:
    """The commit of the working directory, with "+changes" when files differ from it; None outside a repository."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed.strip() else "")
