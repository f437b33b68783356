"""`toolkit export`."""

from __future__ import annotations

import re

import click

from toolkit.cli.options import json_option, print_json, say, trust_option


@click.command("export", epilog="Example: toolkit export runs/unet_shapes --to onnx")
@click.argument("checkpoint", type=click.Path(), metavar="CHECKPOINT_OR_RUN")
@click.argument("overrides", nargs=-1, metavar="[key=value ...]")
@click.option("--to", "target", type=click.Choice(["onnx", "openvino", "torch"]), default="onnx", show_default=True)
@click.option("--out", type=click.Path(), help="The file; default: beside the weights, with the format's ending.")
@click.option("--size", metavar="HxW", help="For pictures of this height and width only, one at a time.")
@click.option("--dynamic", is_flag=True, help="For pictures of any size, any number at a time (the default).")
@click.option("--half", is_flag=True, help="Weights and maps in float16.")
@click.option("--raw", is_flag=True, help="From normalised pixels to the head's outputs, nothing before or behind.")
@click.option("--no-thresholds", is_flag=True, help="Do not apply the thresholds that the checkpoint keeps.")
@trust_option
@json_option
def command(
    checkpoint: str,
    overrides: tuple[str, ...],
    target: str,
    out: str | None,
    size: str | None,
    dynamic: bool,
    half: bool,
    raw: bool,
    no_thresholds: bool,
    trust_code: bool,
    as_json: bool,
) -> None:
    """Write a checkpoint as a program of another engine: pictures in, answers out."""
    wanted = _size(size)
    if wanted is not None and dynamic:
        raise click.UsageError("--size fixes what --dynamic leaves open; give one of them")
    from toolkit.config.load import refuse_wrong_weights

    refuse_wrong_weights(checkpoint, overrides, trust_code=trust_code)
    from toolkit.jobs.export import Wishes, run_export

    wishes = Wishes(wanted, half, raw, not no_thresholds)
    result = run_export(checkpoint, target, out, wishes, overrides=overrides, trust_code=trust_code)  # type: ignore[arg-type]
    if as_json:
        print_json(result)
    else:
        say(result["file"])


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)[xX,](\d+)", text.strip())
    if found is None or "0" in found.groups():
        raise click.BadParameter(f"wanted HEIGHTxWIDTH in pixels (360x480), found '{text}'", param_hint="--size")
    return int(found[1]), int(found[2])
