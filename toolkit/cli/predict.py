"""`toolkit predict`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from toolkit.cli.options import (
    engine_option,
    json_option,
    memory_option,
    overlap_option,
    print_json,
    samples_option,
    say,
    tile_side,
    trust_option,
    tta_option,
)
from toolkit.freed_memory import is_kept

_SHOWN = 5


@click.command(
    "predict", epilog="Example: toolkit predict runs/unet_shapes photos/ --out labelled --format mask,overlay"
)
@click.argument("checkpoint", type=click.Path(), metavar="CHECKPOINT_OR_RUN")
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@click.option("--out", required=True, type=click.Path(), help="Folder for the results; sub-folders are kept.")
@click.option(
    "--format",
    "formats",
    help="Comma-separated. Label maps: mask, overlay, geojson, geotiff, labelme, probabilities (float16), probabilities8 (8 bits), "
    "uncertainty, heat; of Monte-Carlo samples information, deviation. Boxes: overlay, coco, csv, yolo, yolo_scores, voc, labelme, "
    "geojson. Classes and values of pictures: csv, json, overlay. Depth: values, values_png, values_tiff, geotiff, overlay. All: "
    "summary; of videos video, the overlays with the sound. Default: mask and overlay; overlay; csv; values and overlay.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Do what the journal in --out does not call done: after a kill, or of a grown folder.",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace results of other weights or options, or of a job that did not end."
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Do the I-th of N parts of the pictures; toolkit merge joins them. Under torchrun each process does its own.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Pictures of equal size at once; default: 1, or what the journal says.",
)
@click.option(
    "--workers",
    "readers",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Threads that read pictures.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads of one operation on the CPU; default: one a core, or the journal's.",
)
@click.option(
    "--tile",
    default="off",
    show_default=True,
    metavar="auto|N|off",
    help="Large pictures in tiles of N pixels, or as memory asks: pixels get the result of the whole picture, boxes come "
    "close to it.",
)
@overlap_option
@click.option(
    "--pages",
    type=click.Choice(["first", "all"]),
    default="first",
    show_default=True,
    help="Of TIFF, GIF, WebP ... with several pages or frames; all: a result each, NAME_page0001 ...",
)
@tta_option
@samples_option
@memory_option("1GB")
@click.option(
    "--score",
    type=click.FloatRange(0, 1),
    help="Detections below it are left out of every format; default: the thresholds that the checkpoint keeps (toolkit "
    "thresholds); without these all, and those from 0.5 on are drawn.",
)
@click.option(
    "--no-thresholds",
    "thresholds",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Do not use the thresholds that the checkpoint keeps: everything the model answers.",
)
@click.option(
    "--max-detections",
    type=click.IntRange(1),
    help="The most detections of a picture; default: as when it was evaluated.",
)
@click.option(
    "--iou", type=click.FloatRange(0, 1), help="Overlap from which on the worse of two boxes of a class is left out."
)
@click.option(
    "--classes",
    metavar="NAME,...",
    help="Answer these only: boxes of others are left out, pixels of others belong to no class (255).",
)
@click.option(
    "--original-ids",
    is_flag=True,
    help="Masks, GeoTIFF and GeoJSON hold the values of the training's files (label_values), not labels.",
)
@click.option(
    "--annotations", type=click.Path(), metavar="FILE.json", help="COCO file whose image ids the COCO results get."
)
@click.option(
    "--every",
    metavar="N|Ns",
    help="Of videos (extra video): every N-th frame, or one every N seconds (0.5s); default: all frames.",
)
@engine_option("torch")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
@trust_option
@json_option
def command(as_json: bool, **given: Any) -> None:
    """Run a checkpoint over pictures: files, folders (recursive), globs, lists (@files.txt, @table.csv:COLUMN),
    videos.

    key=value among them changes the config that the checkpoint carries (model.head.test.score=0.1).

    Pictures that cannot be read are listed at the end, and the exit code is then 1; the others are done. The journal in
    --out says what is done: --resume goes on by it, also after a kill.
    """
    predict(as_json, **given)


def predict(
    as_json: bool,
    checkpoint: str,
    images: tuple[str, ...],
    formats: str | None,
    tile: str,
    classes: str | None,
    shard: str | None = None,
    **options: Any,
) -> None:
    """Does the job of a command line and tells what came of it.

    Args:
        as_json: whether that is one JSON object.
        checkpoint: a run folder or a weights file.
        images: pictures, folders and lists, with overrides among them.
        formats: names of output formats, with commas between them.
        tile: auto, off or a number.
        classes: names of those that are answered, with commas.
        shard: which part of the pictures this process does, as "I/N".
        options: the others that `run_prediction` takes.
    """
    from toolkit.config.load import refuse_wrong_weights

    refuse_wrong_weights(checkpoint, trust_code=options["trust_code"])
    from toolkit.inference.shares import Share
    from toolkit.jobs.predict import run_prediction

    overrides = [text for text in images if _is_override(text)]
    sources = [text for text in images if not _is_override(text)]
    if not sources:
        raise click.UsageError("wanted pictures: files, folders, globs, or @files.txt")
    result = run_prediction(
        checkpoint,
        sources,
        formats=_names(formats),
        share=Share.parse(shard) if shard else None,
        overrides=overrides,
        tile=tile_side(tile),
        classes=_names(classes),
        **options,
    )
    if as_json:
        print_json(result)
    else:
        _say(result, options["out"])
    if result["stopped"]:
        raise click.exceptions.Exit(130)
    if result["failed"]:
        raise click.exceptions.Exit(1)


def _is_override(text: str) -> bool:
    """Whether a word is key=value, and no picture that is called so."""
    return re.match(r"[+~]?\w+(\.\w+)+=", text) is not None and not Path(text).exists()


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _say(result: dict[str, Any], out: str) -> None:
    rate = f"{result['images_per_second']:.1f}/s"
    stopped = "stopped: " if result["stopped"] else ""
    part = "" if result["share"] == "1/1" else f"share {result['share']}: "
    before = f", {result['skipped']} were done before" if result["skipped"] else ""
    say(
        f"{stopped}{part}{result['images']} pictures, {result['done']} done ({rate}){before}, "
        f"{result['written']} files in {out}"
    )
    chosen = result["chosen"]
    say(
        f"note: on {chosen['device']}, {chosen['threads']} threads a step, {chosen['workers']} threads that read, "
        f"{chosen['batch_size']} at once" + ("; freed memory is kept (TOOLKIT_MALLOC=0: not)" if is_kept() else ""),
        err=True,
    )
    looks = chosen["mirrorings"] * len(chosen["scales"])
    if looks > 1:
        sizes = ", ".join(f"{scale:g}" for scale in chosen["scales"])
        say(f"note: each answer is made of {looks} looks: {chosen['mirrorings']} mirrorings, sizes {sizes}", err=True)
    if result["share"] != "1/1" and not result["stopped"]:
        say(f"note: when all shares are done: toolkit merge --out {out}", err=True)
    if result["stopped"]:
        say("note: --resume goes on from there", err=True)
    for line in _notes(result):
        say(f"note: {line}", err=True)
    for failure in result["failed"]:
        say(f"not done: {failure['file']}: {failure['reason']}", err=True)


def _notes(result: dict[str, Any]) -> list[str]:
    """What was cut, drawn in part or called otherwise."""
    notes = []
    limited, renamed = result["limited"], result["renamed"]
    if limited:
        count = f"{len(limited)} picture{'s' if len(limited) > 1 else ''}"
        notes.append(
            f"{count} reached the limit of {result['limit']} detections, so there may be more: {_some(limited)}; "
            "--max-detections raises it"
        )
    if result.get("thresholds") is not None:
        notes.append(_thresholds_used(result["thresholds"], "mask" in result["formats"]))
    notes += result["unread"]
    if result["original_ids"]:
        where = {"mask": "classes.csv", "geotiff": "the tags of a GeoTIFF", "geojson": "the properties of GeoJSON"}
        told = " and ".join(said for name, said in where.items() if name in result["formats"])
        notes.append(
            f"numbers of classes are the values of the training's files, {result['no_class']} is no class; {told} say which "
            "class each is; all other formats have the classes by name or in the model's order"
        )
    elif "mask" in result["formats"]:
        labels = ", ".join(f"{label} {name}" for label, name in enumerate(result["classes"][:_SHOWN]))
        more = ", ..." if len(result["classes"]) > _SHOWN else ""
        notes.append(
            f"masks hold the model's labels ({labels}{more}), also where the training's files had other values; classes.csv "
            "says which is which, --original-ids writes the others"
        )
    if "coco" in result["formats"] and not result["image_ids"]:
        notes.append(
            "image_id counts the pictures from 1, not as any annotation file does (--annotations FILE gives its ids); "
            "`file` in each entry names its picture"
        )
    if result["drawn_from"] is not None and result["limit"] is not None:
        notes.append(f"boxes with a score from {result['drawn_from']:g} on are drawn; --score changes that")
    notes += [f"results of {entry['file']} are called {entry['as']}" for entry in renamed[:_SHOWN]]
    if len(renamed) > _SHOWN:
        notes.append(f"and {len(renamed) - _SHOWN} more are called otherwise than their pictures (all with --json)")
    return notes


def _thresholds_used(points: dict[str, Any], dense: bool) -> str:
    """Which score counts from where on, and what becomes of the rest."""
    told = [
        f"{name} {value:.4g}" if value is not None else f"{name} none ({points['whys'][name]})"
        for name, value in list(points["thresholds"].items())[:_SHOWN]
    ]
    more = ", ..." if len(points["thresholds"]) > _SHOWN else ""
    rest = "answers below are left out"
    if dense:
        rest = f"pixels below are {points['fallback'] or '255 (no class)'}"
    return (
        f"thresholds of the checkpoint ({points['goal']}, chosen on {points['split']}): {', '.join(told)}{more}; {rest}; "
        "--no-thresholds takes everything"
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
