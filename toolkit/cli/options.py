"""Arguments that several verbs share, and how results are printed."""

from __future__ import annotations

import functools
import json
import math
import os
import sys
from typing import Any, Literal, TypeVar

import click

from toolkit.printing import printable

F = TypeVar("F", bound=Any)


def config_argument(function: F) -> F:
    """CONFIG and key=value overrides; the verb gets the checked config: mistakes are told before torch is waited for."""

    @functools.wraps(function)
    def checked(config: str, overrides: tuple[str, ...], **options: Any) -> Any:
        from toolkit.config.load import load_config

        return function(config=load_config(config, overrides), overrides=overrides, **options)

    with_overrides = click.argument("overrides", nargs=-1, metavar="[key=value ...]")(checked)
    return click.argument("config", type=click.Path())(with_overrides)  # type: ignore[return-value]


def trust_option(function: F) -> F:
    """Adds the option `--trust-code` to a command."""
    said = "Import code that the checkpoint names (module:Class), which runs it; only if you know who wrote it."
    return click.option("--trust-code", is_flag=True, help=said)(function)


def tta_option(function: F) -> F:
    """Adds the option `--tta` to a command."""
    said = "Also look at the mirror image left-right, and at 0.75 and 1.25 of the size; default: as it was evaluated."
    return click.option("--tta", type=click.Choice(["none", "flips", "scales", "flips+scales"]), help=said)(function)


def overlap_option(function: F) -> F:
    """Adds the option `--overlap` to a command."""
    said = "What a detector's tiles share at least; default: what holds the objects that it was trained on."
    return click.option("--overlap", type=click.IntRange(1), metavar="PIXELS", help=said)(function)


def samples_option(function: F) -> F:
    """Adds the option `--samples-mc` to a command."""
    said = "Passes with dropout that an answer is the mean of; default: model.samples of the checkpoint."
    return click.option("--samples-mc", "samples", type=click.IntRange(1), help=said)(function)


def json_option(function: F) -> F:
    """Adds the option `--json` to a command."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, nothing else.")(
        function
    )


def print_json(value: Any) -> None:
    """One object, undefined numbers as null; letters that the terminal's encoding lacks as escapes.

    Of several processes (torchrun, SLURM, `train.devices`) only the first prints it.
    """
    if any(os.environ.get(name, "0") != "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")):
        return
    text = json.dumps(_defined(value), ensure_ascii=False, default=str)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        text = json.dumps(_defined(value), default=str)
    click.echo(text if text.isprintable() else json.dumps(_defined(value), default=str))


def say(text: str = "", *, err: bool = False) -> None:
    """A line of text for people; what a terminal would obey instead of showing is written out."""
    click.echo(printable(text), err=err)


def _defined(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _defined(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_defined(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def tile_side(tile: str) -> int | Literal["auto"] | None:
    """The side of `--tile`, None for off. Raises BadParameter for anything else."""
    if tile == "off":
        return None
    if tile == "auto":
        return "auto"
    if not tile.isdigit() or int(tile) == 0:
        raise click.BadParameter(f"wanted auto, off or a number of pixels, found '{tile}'", param_hint="--tile")
    return int(tile)
