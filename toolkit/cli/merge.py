"""`toolkit merge`."""

from __future__ import annotations

import click

from toolkit.cli.options import json_option, print_json, say


@click.command(
    "merge", epilog="Example: toolkit merge --out labelled   (after predict --shard 1/4 ... 4/4 --out labelled)"
)
@click.argument("shards", nargs=-1, type=click.Path(), metavar="[SHARD...]")
@click.option("--out", required=True, type=click.Path(), help="Folder of the joined results.")
@json_option
def command(shards: tuple[str, ...], out: str, as_json: bool) -> None:
    """Join the shares that predict --shard I/N left: one journal, one file for all pictures.

    SHARD: folders of the shares; without any they lie in --out itself. The result is that of one process.
    """
    from toolkit.jobs.merge import merge_shares

    result = merge_shares(out, shards)
    if as_json:
        print_json(result)
    else:
        say(f"{result['shards']} shares, {result['images']} pictures, {result['done']} done: {result['journal']}")
        for failure in result["failed"]:
            say(f"not done: {failure['file']}: {failure['reason']}", err=True)
    if result["failed"]:
        raise click.exceptions.Exit(1)
