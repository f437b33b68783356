"""`toolkit predict`."""

from __future__ import annotations

from typing import Any, Literal

import click

from toolkit.cli.options import json_option, print_json, say, trust_option


@click.command(
    "predict", epilog="Example: toolkit predict runs/unet_shapes photos/ --out labelled --format mask,overlay"
)
@click.argument("checkpoint", type=click.Path(), metavar="CHECKPOINT_OR_RUN")
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@click.option("--out", required=True, type=click.Path(), help="Folder for the results; sub-folders are kept.")
@click.option(
    "--format",
    "formats",
    help="Comma-separated: mask, overlay, uncertainty, coco, yolo, csv; default: all that are pictures.",
)
@click.option(
    "--batch-size", type=click.IntRange(1), default=1, show_default=True, help="Pictures of equal size at once."
)
@click.option(
    "--tile",
    default="off",
    show_default=True,
    metavar="auto|N|off",
    help="Large pictures in tiles of N pixels, or as memory asks; dense models only, with the result of the whole picture.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
@trust_option
@json_option
def command(
    checkpoint: str,
    images: tuple[str, ...],
    out: str,
    formats: str | None,
    batch_size: int,
    tile: str,
    device: str,
    trust_code: bool,
    as_json: bool,
) -> None:
    """Run a checkpoint over pictures: files, folders (recursive) or globs.

    Pictures that cannot be read are listed at the end, and the exit code is then 1; the others are done.
    """
    from toolkit.config.load import refuse_wrong_weights

    refuse_wrong_weights(checkpoint, trust_code=trust_code)
    from toolkit.jobs.predict import run_prediction

    names = None if formats is None else [name.strip() for name in formats.split(",") if name.strip()]
    result = run_prediction(
        checkpoint, images, out, names, batch_size=batch_size, device=device, tile=_side(tile), trust_code=trust_code
    )
    if as_json:
        print_json(result)
    else:
        _say(result, out)
    if result["failed"]:
        raise click.exceptions.Exit(1)


def _side(tile: str) -> int | Literal["auto"] | None:
    if tile == "off":
        return None
    if tile == "auto":
        return "auto"
    if not tile.isdigit() or int(tile) == 0:
        raise click.BadParameter(f"wanted auto, off or a number of pixels, found '{tile}'", param_hint="--tile")
    return int(tile)


def _say(result: dict[str, Any], out: str) -> None:
    done = result["images"] - len(result["failed"])
    say(
        f"{result['images']} pictures, {done} done ({result['images_per_second']:.1f}/s), {result['written']} files in {out}"
    )
    for failure in result["failed"]:
        say(f"not done: {failure['file']}: {failure['reason']}", err=True)
