"""`toolkit predict` on a Ray cluster with a shared disk: python tools/predict_ray.py RUN PICTURES... --out DIR (extra `[ray]`)."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

import ray

from toolkit.cli.main import report
from toolkit.errors import UserError
from toolkit.inference.journal import Entry
from toolkit.jobs.predict import run_prediction
from toolkit.jobs.prediction_work import PredictionWork


class Worker:
    """A process of Ray's with the model: a block of pictures in, their entries of the journal out."""

    def __init__(self, work: PredictionWork) -> None:
        self.work = work

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Predicts the pictures from `begin` to `end` of the listing and writes their files."""
        found = list(self.work.entries([range(block["begin"], block["end"])]))
        return {"places": [place for place, _ in found], "lines": [entry.line() for _, entry in found]}


def main() -> int:
    """Reads the command line and does the job; the exit code is that of `toolkit predict`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--out", required=True)
    parser.add_argument("--format", type=lambda text: text.split(","))
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--workers", type=int, default=2, help="processes, each with a GPU or a core")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each process")
    given = parser.parse_args()
    needs = {"concurrency": given.workers, "num_cpus": 1, "num_gpus": given.gpus}

    def on_ray(work: PredictionWork, todo: Iterable[range]) -> Iterator[tuple[int, Entry]]:
        rows = [{"begin": block.start, "end": block.stop} for block in todo]
        blocks = ray.data.from_items(rows, override_num_blocks=max(1, min(len(rows), 1000)))
        for row in blocks.map(Worker, fn_constructor_args=(work,), **needs).iter_rows():
            yield from zip(row["places"], map(Entry.read, row["lines"]), strict=True)

    options = {"batch_size": given.batch_size, "resume": given.resume, "by": on_ray}
    try:
        found = run_prediction(given.checkpoint, given.images, given.out, given.format, **options)
    except UserError as error:
        return report(error, wants_json=False)
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
