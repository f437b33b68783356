"""`toolkit list`."""

from __future__ import annotations

import json
from typing import Any

import click

from toolkit.cli.options import json_option, print_json

KINDS = (
    "backbones",
    "necks",
    "heads",
    "losses",
    "datasets",
    "transforms",
    "evaluators",
    "optimizers",
    "schedules",
)


@click.command("list", epilog="Example: toolkit list backbones")
@click.argument("kind", required=False, type=click.Choice([*KINDS, "classes"]))
@json_option
def command(kind: str | None, as_json: bool) -> None:
    """What a config may name: parts, arguments, types, defaults.

    Transforms also include every albumentations class by its own name.
    """
    from toolkit.config.catalogue import catalogue

    entries = catalogue(None if kind is None else kind)
    if as_json:
        print_json(entries)
        return
    for group, parts in entries.items():
        click.echo(f"{group}")
        for part in parts:
            _show(part)
        click.echo("")


def _show(part: dict[str, Any]) -> None:
    click.echo(f"  {part['name']}" + (f"  - {part['summary']}" if part["summary"] else ""))
    for parameter in part["parameters"]:
        default = "" if parameter["required"] else f" = {json.dumps(parameter['default'])}"
        click.echo(f"      {parameter['name']}: {parameter['type']}{default}")
