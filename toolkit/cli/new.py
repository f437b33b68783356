"""`toolkit new`."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli.options import json_option, print_json, say
from toolkit.errors import ConfigError, Problem


@click.command("new", epilog="Example: toolkit new unet_resnet34_camvid --out mine.yaml")
@click.argument("name")
@click.option("--out", type=click.Path(), metavar="FILE", help="Default: the config's own name, in this folder.")
@json_option
def command(name: str, out: str | None, as_json: bool) -> None:
    """Write one of the shipped configs, to copy and change.

    `toolkit list configs` names them. A file that exists is never overwritten.
    """
    from toolkit.config.shipped import shipped_text

    text = shipped_text(name)
    file = Path(out if out is not None else f"{Path(name).stem}.yaml")
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise ConfigError(Problem("--out", f"{file} exists already", "choose another name: --out FILE")) from None
    except OSError as error:
        raise ConfigError(Problem("--out", f"{file} cannot be written: {error.strerror}")) from None
    if as_json:
        print_json({"config": str(file)})
    else:
        say(f"{file}: change it, then toolkit check {file}")
