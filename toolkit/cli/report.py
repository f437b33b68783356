"""`toolkit report`."""

from __future__ import annotations

import click

from toolkit.cli.options import json_option, print_json, say


@click.command("report", epilog="Example: toolkit report runs/unet_shapes --split val")
@click.argument("run", type=click.Path(), metavar="RUN_OR_RECORD")
@click.option("--split", help="Which record of the run; default val, or the only one.")
@click.option("--out", type=click.Path(), help="File of the page; default report.html beside the record.")
@json_option
def command(run: str, split: str | None, out: str | None, as_json: bool) -> None:
    """Make the page of an evaluation again, from its record.

    Nothing is computed: `toolkit evaluate` and training write the record.
    """
    from toolkit.jobs.report import write_report

    result = write_report(run, split, out)
    if as_json:
        print_json(result)
        return
    for note in result["notes"]:
        say(f"note: {note}", err=True)
    say(result["report"])
