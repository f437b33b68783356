"""`toolkit list`."""

from __future__ import annotations

import json
from typing import Any

import click

from toolkit.cli.options import json_option, print_json, say


@click.command("list", epilog="Example: toolkit list datasets voc")
@click.argument("what", required=False, metavar="[KIND | NAME]")
@click.argument("name", required=False)
@json_option
def command(what: str | None, name: str | None, as_json: bool) -> None:
    """What a config may name: parts, arguments, types, defaults, help.

    KIND is one of backbones, necks, heads, losses, datasets, transforms, evaluators, optimizers, schedules, classes or
    configs. With the NAME of a part, all that is known of it; transforms include every albumentations class.
    """
    from toolkit.config.catalogue import GROUPS, catalogue, named
    from toolkit.config.load import current_parts

    parts = current_parts()
    if name is not None:
        if what not in GROUPS[:-2]:
            raise click.UsageError(f"'{what}' is no kind of part; kinds: {', '.join(GROUPS[:-2])}")
        entries = named(parts, name, what)
    elif what is None or what in GROUPS:
        entries = catalogue(parts, what)
    else:
        entries = named(parts, what)
    if as_json:
        print_json(entries)
        return
    for group, found in entries.items():
        say(f"{group}")
        for entry in found:
            _show(entry, help_too=what is not None)
        say("")


def _show(entry: dict[str, Any], *, help_too: bool) -> None:
    say(f"  {entry['name']}" + (f"  - {entry['summary']}" if entry["summary"] and "doc" not in entry else ""))
    for line in entry.get("doc", "").splitlines():
        say(f"      {line}".rstrip())
    if "doc" in entry and entry["parameters"]:
        say("")
    for parameter in entry["parameters"]:
        default = "" if parameter["required"] else f" = {json.dumps(parameter['default'], ensure_ascii=False)}"
        say(f"      {parameter['name']}: {parameter['type']}{default}")
        if help_too and parameter["help"]:
            say(click.wrap_text(parameter["help"], 110, "          ", "          "))
