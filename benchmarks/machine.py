"""What a table was measured on: processor, load, threads, versions of ours and of the peers."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

from toolkit.engine.machine import usable_cores
from toolkit.ops.native import compiler
from toolkit.version import __version__, package_version

PEERS = (
    "torch",
    "torchvision",
    "numpy",
    "opencv-python-headless",
    "albumentations",
    "segmentation-models-pytorch",
    "pycocotools",
    "torchmetrics",
    "hotcoco",
    "faster-coco-eval",
    "sahi",
    "onnxruntime",
)


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        told = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        told = None
    return told[1].strip() if told else platform.processor() or platform.machine()


def machine_name() -> str:
    """A folder's name for results of this kind of machine: "intel-xeon-2-20ghz-2-cores"."""
    words = re.sub(r"\((r|tm)\)|\bcpu\b|processor|@", " ", processor().lower())
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-") + f"-{usable_cores()}-core" + "s" * (usable_cores() > 1)


def load() -> float | None:
    """Processes that wanted a core, on average over the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def versions() -> dict[str, str | None]:
    """Ours and the peers'; None for one that is not installed."""
    return {
        "python": platform.python_version(),
        "toolkit": __version__,
        **{name: package_version(name) for name in PEERS},
    }


def described() -> dict[str, Any]:
    """All of it, for the JSON."""
    return {
        "machine": machine_name(),
        "processor": processor(),
        "cores": usable_cores(),
        "compiler": Path(path).name if (path := compiler()) else None,
        "system": f"{platform.system()} {platform.release()}",
        "load": load(),
        "versions": versions(),
    }
