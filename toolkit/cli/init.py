"""`toolkit init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from toolkit.cli.options import json_option, print_json, say

if TYPE_CHECKING:
    from toolkit.data.layouts.candidate import Task

_TASKS = ("segmentation", "detection", "classification")


@click.command("init", epilog="Example: toolkit init photos/labelled --out mine.yaml --minutes 30")
@click.argument("folder", type=click.Path())
@click.option(
    "--out", type=click.Path(), metavar="FILE", help="Where it is written; default FOLDER's name .yaml, here."
)
@click.option("--task", type=click.Choice(_TASKS), help="What is to be learned, where the folder serves several tasks.")
@click.option("--layout", metavar="NAME", help="How the folder is laid out, where several ways fit.")
@click.option(
    "--minutes", type=click.FloatRange(min=0.1), default=20.0, show_default=True, help="Time for the training."
)
@click.option("--sample", type=click.IntRange(min=1), default=2000, show_default=True,
              help="Files of each kind that are opened at most.")  # fmt: skip
@click.option("--skip-bad", is_flag=True, help="The config leaves out samples that are wrong, instead of stopping.")
@json_option
def command(
    folder: str, out: str | None, task: str | None, layout: str | None, minutes: float, sample: int, skip_bad: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Look at a folder of pictures and annotations, and write a config that trains.

    Says which layout it is and how sure that is; measures classes, image sizes, boxes and the time of a step. Nothing is
    written into the folder, and no file is overwritten.
    """
    from toolkit.jobs.init import init_folder

    path = Path(folder)
    file = Path(out) if out is not None else Path(f"{path.resolve().name or 'data'}.yaml")
    result = init_folder(
        path,
        file,
        task=cast("Task | None", task),
        layout=layout,
        minutes=minutes,
        sample=sample,
        skip_bad=skip_bad,
        told=lambda line: say(line, err=True),
    )
    if as_json:
        print_json(result)
    else:
        say(f"{file}: toolkit check {file}, then toolkit train {file}")
