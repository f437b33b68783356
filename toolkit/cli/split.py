"""`toolkit split`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from toolkit.cli.options import json_option, print_json, say


@click.command("split", epilog="Example: toolkit split mine.yaml --val 0.2 --test 0.1 --group 'patient[0-9]+'")
@click.argument("source", type=click.Path(), metavar="FOLDER_OR_CONFIG")
@click.argument("overrides", nargs=-1, metavar="[key=value ...]")
@click.option("--val", type=float, help="Share of the images for validation; default 0.2.")
@click.option("--test", type=float, help="Share of the images for testing; default 0.")
@click.option(
    "--folds", type=int, help="So many parts of equal size, each once for validation, a folder of lists each."
)
@click.option("--seed", type=int, help="Another number gives another division; default 0.")
@click.option(
    "--by", type=click.Choice(["group", "image"]), help="What stays together: groups and near copies, or nothing."
)
@click.option("--group", metavar="RULE", help="folder, a CSV file (image,group), or a regular expression for the name.")
@click.option(
    "--out", type=click.Path(), metavar="DIR", help="Folder of the lists; default NAME_splits beside the config."
)
@json_option
def command(
    source: str, overrides: tuple[str, ...], group: str | None, out: str | None, as_json: bool, **asked: Any
) -> None:
    """Divide the images of a folder, or the training data of a config, and write the lists.

    train.txt, val.txt and test.txt have an image a line, splits.csv has both columns; a config reads them by
    data.split.lists. Every class is in every part where it can be; groups and near copies stay together.
    """
    from toolkit.config.load import load_config
    from toolkit.config.sections import DivisionSection

    path = Path(source)
    if path.is_dir() and overrides:
        raise click.UsageError("key=value changes a config, and this is a folder")
    read = None if path.is_dir() else load_config(source, overrides)
    from toolkit.jobs.init import folder_config
    from toolkit.jobs.split import write_split

    config = read or folder_config(path, told=lambda line: say(line, err=True))
    beside = Path() if path.is_dir() else path.parent
    name = path.resolve().name if path.is_dir() else config.name
    folder = Path(out) if out is not None else beside / f"{name}_splits"
    rule = dataclasses.replace(
        config.data.split or DivisionSection(), **{name: value for name, value in asked.items() if value is not None}
    )
    if group is not None:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, group=group))
    result = write_split(config, rule, folder)
    if as_json:
        print_json(result)
        return
    for note in result["notes"]:
        say(note)
    for name, size in result["splits"].items():
        say(f"{name}: {size if isinstance(size, int) else ', '.join(f'{part} {n}' for part, n in size.items())}")
    say(f"written to {folder}; in a config: {result['use']}")
