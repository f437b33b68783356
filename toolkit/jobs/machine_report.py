"""What this machine offers to a training or a prediction: processor, memory, devices, compiler, shared memory, disk."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch

from toolkit.analysis.device_memory import host_memory
from toolkit.engine.machine import bf16_instructions, load_average, usable_cores
from toolkit.errors import Problem, first_line
from toolkit.ops.native import compiler, without_kernels
from toolkit.version import package_version

_SHARED = 1 << 30
"""Bytes of /dev/shm below which loader processes with large batches may stop; containers give 64 MiB by default."""
_ROOM = 2 << 30
"""Bytes of free disk below which checkpoints of a large net (weights, averaged weights, optimizer state) may not fit."""


@dataclass
class MachineReport:
    """What was found.

    Args:
        facts: a line of text by its subject, in the order in which people read them.
        problems: what keeps work from being done here.
        notes: what makes it slower, or may matter later.
    """

    facts: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)


def machine_report(folder: Path = Path()) -> MachineReport:
    """Looks at the machine; takes about a second, the import of PyTorch aside. folder: where runs would be written."""
    report = MachineReport()
    for look in (_pytorch, _processor, _devices, _memory, _kernels):
        look(report)
    _disk(report, folder)
    return report


def _pytorch(report: MachineReport) -> None:
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU or other"
    report.facts["torch"] = f"{torch.__version__} ({build} build), torchvision {package_version('torchvision')}"
    try:
        import torchvision

        torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    except Exception as error:  # whatever two builds that do not fit one another throw
        message = f"torchvision's compiled part does not work with this torch: {first_line(error)}"
        report.problems.append(
            Problem("torchvision", message, "reinstall both together: pip install --force-reinstall torch torchvision")
        )


def _processor(report: MachineReport) -> None:
    capability = torch.backends.cpu.get_cpu_capability()
    words = {
        "AMX": "matrix units (AMX), fast",
        "AVX-512": "AVX-512, which auto does not take",
        "": "no instructions that PyTorch knows, slow",
    }
    halves = words[bf16_instructions()]
    cores, there = usable_cores(), os.cpu_count() or 1
    of = "" if cores == there else f" of {there} (affinity or a container's quota)"
    said = f"{cores} core(s){of}, {torch.get_num_threads()} thread(s) an operation, {capability}, load {load_average():.1f}"
    report.facts["processor"] = f"{platform.machine()}, {said}"
    report.facts["bf16"] = f"{halves}: train.precision=bf16-mixed on the CPU"


def _devices(report: MachineReport) -> None:
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            report.facts[f"cuda:{number}"] = f"{about.name}, {about.total_memory / 2**30:.1f} GiB"
        return
    if torch.backends.mps.is_available():
        report.facts["mps"] = "Apple's GPU"
        return
    report.facts["gpu"] = "none that PyTorch sees; the CPU is used"
    if torch.version.cuda and shutil.which("nvidia-smi"):
        message = f"there is an NVIDIA driver, and PyTorch's build for CUDA {torch.version.cuda} sees no device"
        report.problems.append(Problem("gpu", message, "look at `nvidia-smi`: the driver may be older than that CUDA"))
    elif torch.version.cuda:
        message = f"PyTorch is the build for CUDA {torch.version.cuda}, which this machine does not need"
        report.notes.append(Problem("torch", message, "its CPU build saves gigabytes of disk"))


def _memory(report: MachineReport) -> None:
    memory = host_memory()
    if memory is not None:
        report.facts["memory"] = f"{memory.total / 2**30:.1f} GiB, {memory.free / 2**30:.1f} GiB free"
    shared = Path("/dev/shm")
    if shared.is_dir():
        size = shutil.disk_usage(shared).total
        report.facts["/dev/shm"] = f"{size / 2**30:.2f} GiB for batches of loader processes"
        if size < _SHARED:
            message = f"{size / 2**20:.0f} MiB are few for batches on their way from loader processes"
            report.notes.append(Problem("/dev/shm", message, "docker run --shm-size=2g, or data.workers=0"))


def _kernels(report: MachineReport) -> None:
    lacking = without_kernels()
    report.facts["compiler"] = str(compiler()) if lacking is None else "none that works"
    if lacking is not None:
        slower = "pooling indices, label maps and COCO matching take slower ways, with the same numbers"
        report.notes.append(Problem("compiler", f"{lacking.reason}: {slower}", lacking.remedy))


def _disk(report: MachineReport, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    report.facts["disk"] = f"{free / 2**30:.1f} GiB free in {folder.resolve()}"
    if free < _ROOM:
        message = f"{free / 2**30:.1f} GiB are free, and a run of a large net keeps more"
        report.notes.append(Problem("disk", message, "train with --run on another disk"))
    for place, use in ((folder, "runs"), (Path(tempfile.gettempdir()), "temporary files")):
        if not os.access(place, os.W_OK):
            report.problems.append(
                Problem(str(place), f"cannot be written, and {use} go there", "choose another folder")
            )
