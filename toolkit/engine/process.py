"""How a process is set up for the work: device, precision, processes, threads, and memory that is kept."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from typing import Any

import torch

from toolkit.engine.determinism import set_determinism
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


def allow_tf32(allowed: bool) -> None:
    """Whether GPUs may compute float32 products (convolutions too) as TF32: range of float32, mantissa of 10 bits.

    Through the older of PyTorch's two interfaces, which writes both kinds of settings. The newer one
    (`fp32_precision`, since 2.9) writes only its own, and then every reader of the older ones raises: Lightning Fabric,
    and the compiler up to 2.13.
    """
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


def _check_precision(settings: TrainSettings, device: str) -> None:
    if settings.precision == "16-mixed" and device == "cpu":  # Fabric would quietly take bf16-mixed
        message = "float16 with a loss scaler needs a GPU, and this training is on the CPU"
        raise ConfigError(Problem("train.precision", message, "take bf16-mixed, which needs no scaler, or 32-true"))


def _processes(settings: TrainSettings) -> tuple[int, int]:
    """(processes a machine, machines): torchrun's or SLURM's when it started us, else the config's."""
    if "LOCAL_WORLD_SIZE" in os.environ and "WORLD_SIZE" in os.environ:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return local, max(1, int(os.environ["WORLD_SIZE"]) // local)
    tasks = _slurm_tasks()
    return tasks if tasks is not None else (settings.devices, settings.nodes)


def _slurm_tasks() -> tuple[int, int] | None:
    """(tasks a node, nodes) of the job step that srun made of us; None outside SLURM and in interactive jobs.

    Raises ConfigError for what PyTorch's processes cannot find one another by.
    """
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")  # as Fabric tells them
    tasks = int(os.environ.get("SLURM_NTASKS", "1"))
    if interactive or tasks == 1:
        return None
    nodes = int(os.environ.get("SLURM_NNODES", "1"))
    each = os.environ.get("SLURM_NTASKS_PER_NODE", "").partition("(")[0]
    if not each.isdigit() or int(each) * nodes != tasks:
        message = f"SLURM started {tasks} tasks on {nodes} node(s), but not as many on each as --ntasks-per-node says"
        raise ConfigError(
            Problem("srun", message, "give --nodes and --ntasks-per-node, one task a GPU, and no --ntasks")
        )
    return int(each), nodes


def make_fabric(settings: TrainSettings) -> Any:
    """A launched Fabric: under torchrun or SLURM one of its processes, else as `settings.devices` and `nodes` say."""
    from lightning_fabric import Fabric  # slow to import, and not needed for a config error

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    keep_freed_memory()
    device = pick_device(settings.device)
    _check_precision(settings, device)
    set_determinism(settings.deterministic, device)
    if device == "cuda":
        allow_tf32(settings.tf32)
    devices, nodes = _processes(settings)
    fabric = Fabric(
        accelerator=device,
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
