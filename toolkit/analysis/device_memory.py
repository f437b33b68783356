"""How much memory a device has: a GPU's, or the machine's as far as this process may use it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

import torch


class Memory(NamedTuple):
    """Memory of a device, in bytes.

    Args:
        total: what the device has, or what a container allows.
        free: what can be had still.
        ours: what this process holds already.
    """

    total: int
    free: int
    ours: int


def device_memory(device: torch.device) -> Memory | None:
    """Of a CUDA device (`ours` is what PyTorch holds, used or not) or of the machine; None where nobody says."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Memory(total, free, torch.cuda.memory_reserved(device))
    return host_memory() if device.type == "cpu" else None


def host_memory(root: Path = Path("/")) -> Memory | None:
    """The machine's memory, or less where a control group (container, SLURM job) or a limit of the process says so.

    What the system would give back at need (file cache) counts as free. root: where `proc` and `sys` are. None on
    systems without `/proc/meminfo`.
    """
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        status = (root / "proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    machine = {name: int(rest.split()[0]) << 10 for name, _, rest in (line.partition(":") for line in lines)}
    own = {name: rest.split() for name, _, rest in (line.partition(":") for line in status)}
    ours = int(own["VmRSS"][0]) << 10
    limits = [(machine["MemTotal"], machine["MemAvailable"]), *_groups(root)]
    if sys.platform == "linux" and root == Path("/"):
        limits += _process_limits(int(own["VmSize"][0]) << 10, int(own["VmData"][0]) << 10)
    return Memory(min(total for total, _ in limits), max(0, min(free for _, free in limits)), ours)


def _process_limits(addresses: int, data: int) -> list[tuple[int, int]]:
    """(limit, free) of `ulimit -v` and `ulimit -d`, where they are set, for so many bytes that are used."""
    import resource

    used = {resource.RLIMIT_AS: addresses, resource.RLIMIT_DATA: data}
    limits = {kind: resource.getrlimit(kind)[0] for kind in used}
    return [(limit, limit - used[kind]) for kind, limit in limits.items() if limit != resource.RLIM_INFINITY]


def _groups(root: Path) -> list[tuple[int, int]]:
    """(limit, free) of every control group the process is in that has a limit, version 2 and version 1."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers == "":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # Inside a container the group's own files often lie at the top, whatever its path outside is called.
        inside = Path(path.lstrip("/"))
        for folder in [base / inside, *(base / parent for parent in inside.parents), base]:
            found += _limit(folder, *names)
    return found


def _limit(folder: Path, limit: str, used: str, cache: str) -> list[tuple[int, int]]:
    try:
        allowed, taken = ((folder / name).read_text(encoding="ascii").strip() for name in (limit, used))
        rows = (line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        given_back = next((int(row[1]) for row in rows if row[0] == cache), 0)
    except OSError:
        return []
    if allowed == "max" or int(allowed) >= 1 << 60:  # version 1 says "no limit" with a number near 2^63
        return []
    return [(int(allowed), int(allowed) - int(taken) + given_back)]


def gigabytes(count: float) -> str:
    """Bytes for people: `3.4 GiB`, `210 MiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def reset_peak() -> bool:
    """Lets `peak` begin anew for this process; false where the system cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak() -> int:
    """The most memory this process has held since `reset_peak`, in bytes. Raises OSError where nobody counts."""
    lines = Path(f"/proc/{os.getpid()}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
