"""`toolkit demo`."""

from __future__ import annotations

import click

from toolkit.cli.options import json_option, print_json, say


@click.command("demo", epilog="Example: toolkit demo --out demo")
@click.option("--task", type=click.Choice(["segmentation", "detection"]), default="segmentation", show_default=True)
@click.option("--out", default="demo", show_default=True, type=click.Path(), help="Folder; a used one gets a number.")
@json_option
def command(task: str, out: str, as_json: bool) -> None:
    """The whole job in about two minutes, on data it makes itself.

    Makes synthetic scenes, checks them, trains a small model, measures it, labels a folder of pictures, and says where
    to look. No download.
    """
    from toolkit.engine.log import table
    from toolkit.jobs.demo import run_demo

    result = run_demo(task, out, lambda text: say(text, err=True))
    tables = result.pop("tables")
    if as_json:
        print_json(result)
        return
    for title, header, rows in tables:
        say("\n" + table(title, header, rows))
    say("")
    for name, path in result["paths"].items():
        say(f"{name:<12}{path}")
    say(f"\nDone in {result['seconds']:.0f} s. Next, your own pictures: toolkit init FOLDER")
