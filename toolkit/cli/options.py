"""Arguments that several verbs share, and how results are printed."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import sys
from collections.abc import Callable
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


def engine_option(default: str | None) -> Callable[[F], F]:
    """Adds the option `--engine` to a command."""
    said = "What computes the net on a CPU; auto measures them once for a model, size and machine. Digits change."
    engines = click.Choice(["torch", "onnxruntime", "openvino", "compile", "bf16", "auto"])
    return click.option("--engine", type=engines, default=default, show_default=default is not None, help=said)


def memory_option(default: str | None) -> Callable[[F], F]:
    """Adds the option `--memory` to a command, which gets bytes."""
    said = "What a picture may take beside the model with --tile auto, or by window, as 800MB or 2GB; less memory, more tiles."
    shown: dict[str, Any] = {"metavar": "BYTES", "show_default": default is not None, "help": said}
    return click.option("--memory", default=default, callback=_bytes, **shown)


def _bytes(_: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]*\.?[0-9]+) *([KMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    unit = 1024 if found and found[3] else 1000
    count = int(float(found[1]) * unit ** " KMGT".index(found[2].upper() or " ")) if found else 0
    if count < 1:
        raise click.BadParameter(f"wanted a size such as 800MB or 2GB, found '{text}'", param=parameter)
    return count


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
