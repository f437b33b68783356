"""How a process is set up for the work: device, precision, processes, threads, and memory that is kept."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from typing import Any

import torch

from toolkit.engine.settings import TrainSettings
from toolkit.errors import ConfigError, Problem

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of the GNU C library
_LARGEST_MMAP_THRESHOLD = 1 << 30


def keep_freed_memory() -> bool:
    """Tells glibc to keep large freed blocks instead of returning each tensor to the system and faulting it in again.

    Returns whether it applies (Linux with glibc). Trades resident memory for time; results are the same.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    kept = libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    return bool(kept and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def pick_device(name: str) -> str:
    """The device for a name; `auto` is cuda where there is one, else cpu. Raises ConfigError for a device this machine has not."""
    have = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return "cuda" if have["cuda"] else "cpu"
    if not have[name]:
        present = ", ".join(device for device, there in have.items() if there)
        raise ConfigError(
            Problem("train.device", f"this machine has no '{name}' that PyTorch can use; it has {present}")
        )
    return name


def _processes(settings: TrainSettings) -> tuple[int, int]:
    """(processes a machine, machines): torchrun's when it started us, else the config's."""
    if "LOCAL_WORLD_SIZE" in os.environ and "WORLD_SIZE" in os.environ:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return local, max(1, int(os.environ["WORLD_SIZE"]) // local)
    return settings.devices, settings.nodes


def make_fabric(settings: TrainSettings) -> Any:
    """A launched Fabric: under torchrun or SLURM one of its processes, else as `settings.devices` and `nodes` say."""
    from lightning_fabric import Fabric  # slow to import, and not needed for a config error

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    keep_freed_memory()
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(settings.deterministic)
    torch.backends.cudnn.benchmark = not settings.deterministic
    devices, nodes = _processes(settings)
    fabric = Fabric(
        accelerator=pick_device(settings.device),
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision=settings.precision,
    )
    fabric.launch()
    return fabric


def leave(fabric: Any) -> None:
    """Ends the work of several processes together; without it, the first to exit can leave the others waiting."""
    if fabric.world_size > 1 and torch.distributed.is_initialized():
        fabric.barrier()
        torch.distributed.destroy_process_group()
