"""Memory as the system tells it, on made-up systems."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from fresh_process import run_fresh

from toolkit.analysis.device_memory import device_memory, gigabytes, host_memory

GB = 1 << 30


def system(root: Path, cgroup: str = "0::/", **files: str) -> Path:
    """16 GiB, 10 of them available, 1 held by this process. files: below sys/fs/cgroup, `__` for `/`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: {16 << 20} kB\nMemFree: 5 kB\nMemAvailable: {10 << 20} kB\n")
    (root / "proc/self/status").write_text(f"Name:\tpython\nVmSize:\t{9 << 20} kB\nVmRSS:\t{1 << 20} kB\n")
    (root / "proc/self/cgroup").write_text(cgroup + "\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def limit(folder: str, total: int, used: int, cache: int = 0) -> dict[str, str]:
    prefix = f"{folder}__" if folder else ""
    return {
        f"{prefix}memory_DOT_max": str(total),
        f"{prefix}memory_DOT_current": str(used),
        f"{prefix}memory_DOT_stat": f"anon 12\nfile {cache}\ninactive_file {cache}",
    }


def test_a_machine_without_limits(tmp_path: Path) -> None:
    files = {"memory_DOT_max": "max", "memory_DOT_current": "5", "memory_DOT_stat": "inactive_file 1"}
    assert host_memory(system(tmp_path, **files)) == (16 * GB, 10 * GB, GB)


def test_a_container_counts_file_cache_as_free(tmp_path: Path) -> None:
    assert host_memory(system(tmp_path, **limit("", 8 * GB, 6 * GB, 3 * GB))) == (8 * GB, 5 * GB, GB)


def test_the_tightest_group_above_counts(tmp_path: Path) -> None:
    files = limit("slurm__job", 12 * GB, 4 * GB) | limit("slurm", 14 * GB, 12 * GB)
    assert host_memory(system(tmp_path, "0::/slurm/job/step", **files)) == (12 * GB, 2 * GB, GB)


def test_version_one(tmp_path: Path) -> None:
    files = {
        "memory__job__memory_DOT_limit_in_bytes": str(4 * GB),
        "memory__job__memory_DOT_usage_in_bytes": str(GB),
        "memory__job__memory_DOT_stat": f"total_inactive_file {GB // 2}",
        "memory__memory_DOT_limit_in_bytes": str((1 << 63) - 4096),
        "memory__memory_DOT_usage_in_bytes": "1",
        "memory__memory_DOT_stat": "total_inactive_file 0",
    }
    root = system(tmp_path, "5:cpu,cpuacct:/job\n4:memory:/job", **files)
    assert host_memory(root) == (4 * GB, 4 * GB - GB // 2, GB)


def test_a_system_that_does_not_say(tmp_path: Path) -> None:
    assert host_memory(tmp_path) is None
    assert device_memory(torch.device("meta")) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the peak")
def test_this_process() -> None:
    """In a process of its own: one that has run other tests has memory in hand, and a peak of its own."""
    printed = run_fresh(
        "import torch\n"
        "from toolkit.analysis.device_memory import device_memory, peak, reset_peak\n"
        "memory, reset, before = device_memory(torch.device('cpu')), reset_peak(), peak()\n"
        "block = torch.ones(64 << 20, dtype=torch.uint8)\n"
        "held = peak()\n"
        "del block\n"
        "again = reset_peak()\n"
        "print(memory.ours, memory.total, int(reset and again), before, held, peak())"
    )
    ours, total, reset, before, held, after = map(int, printed.split())
    assert 0 < ours < total
    if not reset:
        pytest.skip("this system does not let the peak be reset")
    assert held - before >= 60 << 20
    assert held - after >= 60 << 20


@pytest.mark.gpu
def test_a_gpu() -> None:
    device = torch.device("cuda", 0)
    block = torch.ones(256 << 20, dtype=torch.uint8, device=device)
    memory = device_memory(device)
    assert memory is not None
    assert memory.ours >= block.nbytes
    assert memory.free + memory.ours <= memory.total


def test_numbers_for_people() -> None:
    assert gigabytes(3.44 * GB) == "3.4 GiB"
    assert gigabytes(200 << 20) == "200 MiB"
