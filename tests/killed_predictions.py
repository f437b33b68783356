"""Prediction jobs that are killed again and again, at chosen moments: run as a script, it tells what the last runs left.

Each run is a forked process that kills itself with SIGKILL: half way through a file, an archive of arrays, a raster or a video,
before or after a rename, in the middle of a line of the journal.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from prediction_jobs import dense_model, detector, restored, tree

from toolkit.inference.journal import Entry, Journal
from toolkit.inference.writers import geotiff, probabilities, video
from toolkit.inference.writers.probabilities import write_npz
from toolkit.jobs.predict import run_prediction
from toolkit.jobs.restore import Restored

MOMENTS = ("in a file", "before a rename", "after a rename", "in a line of the journal", "before a line of the journal")
OF_FORMATS = {"probabilities": "in a file of arrays", "geotiff": "in a raster", "video": "in a video"}
"""Moments of formats that do not write their files in one piece."""


def die() -> None:
    """As a power cut does."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str, count: int) -> None:
    """Makes this process die at the moment's `count`-th time."""
    left = [count]

    def now() -> bool:
        left[0] -= 1
        return left[0] == 0

    write, replace, add = Path.write_bytes, Path.replace, Journal.add

    def write_bytes(self: Path, data: bytes) -> int:
        if moment == "in a file" and now():
            write(self, data[: len(data) // 2])
            die()
        return write(self, data)

    def renamed(self: Path, target: Any) -> Any:
        if moment == "before a rename" and now():
            die()
        found = replace(self, target)
        if moment == "after a rename" and now():
            die()
        return found

    def added(self: Journal, place: int, entry: Entry) -> None:
        if moment == "before a line of the journal" and now():
            die()
        if moment == "in a line of the journal" and now():
            line = entry.line().encode()
            self._file.write(line[: len(line) // 2])
            self._file.flush()
            die()
        add(self, place, entry)

    def arrays_written(file: Any, arrays: Any) -> None:
        if moment == OF_FORMATS["probabilities"] and now():
            file.write(b"PK the beginning")
            file.flush()
            die()
        write_npz(file, arrays)

    put, padded = geotiff._put, video._padded

    def tile_written(*arguments: Any) -> None:
        put(*arguments)
        if moment == OF_FORMATS["geotiff"] and now():
            die()

    def frame_read(*arguments: Any) -> Any:
        if moment == OF_FORMATS["video"] and now():
            die()
        return padded(*arguments)

    probabilities.write_npz = arrays_written
    geotiff._put, video._padded = tile_written, frame_read  # type: ignore[assignment]
    Path.write_bytes, Path.replace, Journal.add = write_bytes, renamed, added  # type: ignore[method-assign,assignment]


def run(model: Restored, pictures: str, out: Path, formats: Sequence[str], kills: int) -> int:
    """Kills the job so often and lets it end; how often it died."""
    rng = random.Random(0)
    moments = (*MOMENTS, *(moment for name, moment in OF_FORMATS.items() if name in formats))
    deaths = 0
    for _ in range(10 * kills + 1):
        moment, count = rng.choice(moments) if deaths else moments[-1], rng.randint(1, 4)
        child = os.fork()
        if child == 0:
            if deaths < kills:
                arm(moment, count)
            resume = (out / "journal.jsonl").exists()
            tile = 32 if "geotiff" in formats else None
            run_prediction(model, [pictures], out, formats, batch_size=2, resume=resume, threads=1, tile=tile)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        deaths += os.WIFSIGNALED(status)
        if not os.WIFSIGNALED(status) and (deaths >= kills or os.waitstatus_to_exitcode(status) != 0):
            break
    return deaths


def main(jobs: Sequence[tuple[str, str, Sequence[str], int]], out: Path) -> None:
    """Runs each job with and without kills, and writes how often it died and both trees, a line a job.

    Args:
        jobs: "dense" or "boxes", pictures, formats, and how often it dies.
        out: folder for the results.
    """
    torch.set_num_threads(1)
    for number, (kind, pictures, formats, kills) in enumerate(jobs):
        model = restored(dense_model() if kind == "dense" else detector())
        killed, whole = out / f"{number}" / "killed", out / f"{number}" / "whole"
        deaths = run(model, pictures, killed, formats, kills)
        run(model, pictures, whole, formats, 0)
        sys.stdout.write(json.dumps({"deaths": deaths, "killed": tree(killed), "whole": tree(whole)}) + "\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
