"""What a run was made with: versions, revision, machine. Written beside the weights."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from typing import Any

import torch

from toolkit.version import __version__

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


def environment(device: str, seed: int) -> dict[str, Any]:
    """Plain values: toolkit, python and package versions, git revision of the working directory, device, seed, command."""
    return {
        "toolkit": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "git": _revision(),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "seed": seed,
        "command": sys.argv,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


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
