"""`toolkit split`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.options import config_argument, json_option, print_json, say

if TYPE_CHECKING:
    from toolkit.config.sections import Config


@click.command("split", epilog="Example: toolkit split mine.yaml --val 0.2 --test 0.1 --group 'patient[0-9]+'")
@config_argument
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
def command(config: Config, overrides: tuple[str, ...], group: str | None, out: str | None, as_json: bool,
            **asked: Any) -> None:  # fmt: skip
    """Divide the training data of a config into train, val and test, and write the lists.

    train.txt, val.txt and test.txt have an image a line, splits.csv has both columns; a config reads them by
    data.split.lists. Every class is in every part where it can be; groups and near copies stay together.
    """
    from toolkit.config.sections import DivisionSection
    from toolkit.jobs.split import write_split

    context = click.get_current_context()
    folder = Path(out) if out is not None else Path(context.params["config"]).parent / f"{config.name}_splits"
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
