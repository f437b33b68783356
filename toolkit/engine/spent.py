"""What a training has cost: processor time of all its processes and workers, and images seen; kept over a resume."""

from __future__ import annotations

import multiprocessing
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def processor_seconds() -> float:
    """Processor time, user and system, of this process and of its children, ended or alive, since it began.

    Children that are alive (the loader's workers) are read from /proc; where there is none (a Mac) they count once they
    have ended.
    """
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    alive = sum(_of_process(child.pid) for child in multiprocessing.active_children() if child.pid is not None)
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime + alive


def _of_process(pid: int) -> float:
    """Processor seconds of a running process and of its children that have ended; 0 where /proc does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    # proc(5): behind the name in brackets come the fields from the third on; 14 to 17 are ticks of the clock.
    ticks = text.rpartition(")")[2].split()[11:15]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


class Spent:
    """Counts from where it is made, on top of what a saved run had spent. All processes have to ask it together.

    Args:
        before: `state()` of the run that is continued; empty for a new one.
    """

    def __init__(self, before: Mapping[str, float] | None = None) -> None:
        self._before = dict(before or {})
        self._began = processor_seconds()
        self._images = 0

    def add_images(self, images: int) -> None:
        """Counts the images of a step, those of all processes."""
        self._images += images

    def state(self, fabric: Any) -> dict[str, float]:
        """Since the run began: "processor_seconds" of all its processes, and "images" trained on."""
        seconds = processor_seconds() - self._began
        if fabric.world_size > 1:
            mine = torch.tensor(seconds, dtype=torch.float64, device=fabric.device)
            seconds = float(fabric.all_reduce(mine, reduce_op="sum"))
        return {
            "processor_seconds": self._before.get("processor_seconds", 0.0) + seconds,
            "images": self._before.get("images", 0.0) + self._images,
        }

    def shown(self, fabric: Any) -> dict[str, float]:
        """The same for an event: "processor_minutes" and "images_seen"."""
        state = self.state(fabric)
        return {
            "processor_minutes": round(state["processor_seconds"] / 60, 3),
            "images_seen": int(state["images"]),
        }
