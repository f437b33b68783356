"""`toolkit predict` on a Ray cluster with a shared disk (extra `[ray]`).

python -m toolkit.cli.predict_ray RUN PICTURES... --out DIR
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.main import run
from toolkit.cli.predict import command as predict_command  # a module with `command` would be a verb
from toolkit.cli.predict import predict
from toolkit.errors import ConfigError, Place, Problem

if TYPE_CHECKING:
    from toolkit.inference.journal import Entry
    from toolkit.jobs.prediction_work import PredictionWork


class Worker:
    """A process of Ray's with the model: a block of pictures in, their entries of the journal out."""

    def __init__(self, work: PredictionWork) -> None:
        self.work = work

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Predicts the pictures from `begin` to `end` of the listing and writes their files."""
        found = list(self.work.entries([range(block["begin"], block["end"])]))
        return {"places": [place for place, _ in found], "lines": [entry.line() for _, entry in found]}


def job(workers: int, gpus: float, **given: Any) -> None:
    """`toolkit predict` with an actor pool in place of this process: all of its options but --shard and --workers.

    Args:
        workers: processes that predict, 1 or more.
        gpus: GPUs of each process; a share where several use one.
        given: the options of `toolkit predict`, by name.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError(Problem(Place("ray"), "is not installed", "pip install 'toolkit-dense[ray]'")) from error
    from toolkit.inference.journal import Entry

    needs: dict[str, Any] = {"concurrency": workers, "num_cpus": 1, "num_gpus": gpus}

    def on_ray(work: PredictionWork, todo: Iterable[range]) -> Iterator[tuple[int, Entry]]:
        rows = [{"begin": block.start, "end": block.stop} for block in todo]
        blocks = ray.data.from_items(rows, override_num_blocks=max(1, min(len(rows), 1000)))
        worker: Any = Worker  # Ray makes one in each process
        for row in blocks.map(worker, fn_constructor_args=(work,), **needs).iter_rows():
            yield from zip(row["places"], map(Entry.read, row["lines"]), strict=True)

    predict(**given, by=on_ray)


def program() -> click.Command:
    """The command line: that of `toolkit predict`, with processes in place of threads that read."""
    workers = click.Option(["--workers"], type=click.IntRange(1), default=2, show_default=True, help="Processes.")
    gpus = click.Option(["--gpus"], type=float, default=0.0, show_default=True, help="GPUs of each process.")
    shared = [one for one in predict_command.params if one.name not in ("readers", "shard")]
    return click.Command(
        "predict_ray", params=[*shared, workers, gpus], callback=job, help=(job.__doc__ or "").partition("\n")[0]
    )


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], program(), "predict_ray"))
