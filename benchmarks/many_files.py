"""A folder of very many pictures: when the first result is there, and how much memory the job takes until its end.

    python -m benchmarks.many_files [--pictures 10000 100000] [--format coco,csv]

Each number of pictures is a process of its own. The pictures are one tiny PNG, linked again and again. The net looks at
the first block; entries of the rest are copies of what it found there, so that listing, journal and closing are measured,
which is what grows with the folder, and not the net.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from benchmarks.rows import resident_bytes

_A_LINK = 10_000
"""Links of one file; file systems have limits."""


def make_pictures(folder: Path, count: int) -> None:
    """So many names of tiny pictures with two rectangles, a thousand a folder."""
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[4:20, 6:30, 0], pixels[22:30, 30:44, 2] = 200, 220
    source = folder
    for number in range(count):
        path = folder / f"{number // 1000:04d}" / f"picture_{number:07d}.png"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        if number % _A_LINK == 0:
            source = path
            Image.fromarray(pixels).save(path)
        else:
            os.link(source, path)


def measured(pictures: Path, out: Path, formats: list[str]) -> dict[str, Any]:
    """Runs the job; seconds from the loaded model to the first result, and bytes beside those before it."""
    from benchmarks.planted import detector
    from toolkit.config.sections import Config
    from toolkit.inference.journal import Entry
    from toolkit.jobs import predictor
    from toolkit.jobs.predict import run_prediction
    from toolkit.jobs.prediction_work import PredictionWork
    from toolkit.jobs.restore import Restored

    moments: dict[str, float] = {}

    def restored(*_: Any, **__: Any) -> Restored:
        moments["loaded"], moments["loaded, processor"] = time.perf_counter(), time.process_time()
        return Restored(model, cast(Config, None), Path("model"), {})

    def by(work: PredictionWork, todo: Iterable[range]) -> Iterator[tuple[int, Entry]]:
        blocks = iter(todo)
        for first in work.entries([next(blocks)]):
            moments.setdefault("first", time.perf_counter())
            moments.setdefault("first, processor", time.process_time())
            yield first
        entry = first[1]
        for block in blocks:
            for place in block:
                yield place, entry._replace(number=place + 1, name=f"{work.stems[place]}.png", stem=work.stems[place])

    model = detector()
    model.predict(np.zeros((32, 48, 3), np.uint8))  # what is imported late is here before
    predictor.restore = restored  # type: ignore[assignment]
    before = resident_bytes(reset=True)
    began = time.perf_counter()
    found = run_prediction("model", [pictures], out, formats, by=by)
    ended = time.perf_counter()
    after = resident_bytes()
    return {
        "pictures": found["images"],
        "listed after": round(moments["loaded"] - began, 2),
        "first result after": round(moments["first"] - moments["loaded"], 3),
        "of it processor": round(moments["first, processor"] - moments["loaded, processor"], 3),
        "seconds": round(ended - began, 1),
        "MB": round((after[1] - before[0]) / 1e6, 1) if after and before else None,
        "files": sorted(path.name for path in out.iterdir() if path.is_file()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--format", default="coco,csv,summary")
    parser.add_argument("--folder", type=Path, help="measure this folder, in this process")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        with tempfile.TemporaryDirectory(prefix="many-out-") as out:
            print(json.dumps(measured(arguments.folder, Path(out), arguments.format.split(","))))
        return
    for count in arguments.pictures:
        with tempfile.TemporaryDirectory(prefix="many-") as folder:
            make_pictures(Path(folder), count)
            command = [sys.executable, "-m", "benchmarks.many_files", "--folder", folder, "--format", arguments.format]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
