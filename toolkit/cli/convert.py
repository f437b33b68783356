"""`toolkit convert`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from toolkit.cli.options import json_option, print_json, say

if TYPE_CHECKING:
    from toolkit.data.layouts.candidate import Task

_FORMS = ("coco", "voc", "yolo", "masks", "labelme")
_SHOWN = 20


@click.command("convert", epilog="Example: toolkit convert mine.yaml data/as_yolo --to yolo --split val")
@click.argument("source", type=click.Path(), metavar="SRC")
@click.argument("target", type=click.Path(), metavar="DST")
@click.argument("overrides", nargs=-1, metavar="[key=value ...]")
@click.option("--to", "form", type=click.Choice(_FORMS), required=True, help="Format of the new folder.")
@click.option(
    "--from", "name", metavar="NAME", help="Read the folder SRC as this data set; key=value are its arguments."
)
@click.option(
    "--task", type=click.Choice(["segmentation", "detection"]), help="What a folder is read for, where it serves both."
)
@click.option("--layout", metavar="NAME", help="How a folder is laid out, where several ways fit.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Only this one; default all of the config.")
@json_option
def command(
    source: str, target: str, overrides: tuple[str, ...], form: str, name: str | None, task: str | None,
    layout: str | None, split: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Write a data set in another format: pictures are copied, annotations written anew.

    SRC is a config, a folder whose layout is recognised, or one that --from says how to read. What the format cannot hold
    is named. Nothing is written into SRC, and DST is new or empty.
    """
    from toolkit.jobs.convert import convert, datasets_of

    datasets = datasets_of(
        Path(source), overrides, name=name, split=split, task=cast("Task | None", task), layout=layout,
        told=lambda line: say(line, err=True),
    )  # fmt: skip
    result = convert(datasets, Path(target), form)
    if as_json:
        print_json(result)
        return
    for line in _told(result["lost"]):
        say(f"lost: {line}")
    for one, dataset in result["datasets"].items():
        arguments = ", ".join(f"{key}: {value}" for key, value in dataset.items())
        say(f"{one}: {{{arguments}}}")
    say(f"{result['images']} images, {result['written']} files in {target}")


def _told(lost: list[dict[str, Any]]) -> list[str]:
    """Losses of one file with its name; those of many files by their words, with the first file."""
    kinds: Counter[str] = Counter()
    first: dict[str, dict[str, Any]] = {}
    for one in lost:
        words = one["what"].lstrip("0123456789 ").partition(", by ")[0]
        kinds[words] += 1
        first.setdefault(words, one)
    lines = []
    for words, count in kinds.most_common(_SHOWN):
        example = first[words]
        where = f" in {example['file']}" if example["file"] else ""
        more = f", and in {count - 1} more files (--json names them)" if count > 1 else ""
        lines.append(f"{example['what']}{where}{more}")
    return lines
