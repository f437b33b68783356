"""`toolkit evaluate`."""

from __future__ import annotations

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
from toolkit.errors import ConfigError, Place, Problem

_EPILOG = """\b
Example: toolkit evaluate runs/unet_shapes --split val
  toolkit evaluate runs/unet_shapes --split test --tags weather.csv --save-predictions
  toolkit evaluate runs/unet_shapes --tta flips --tile 512
  toolkit evaluate --predictions results.json --annotations instances_val.json
  toolkit evaluate --predictions answers/ --annotations masks/ --classes sky,road,car
"""


@click.command("evaluate", epilog=_EPILOG)
@click.argument("checkpoint", type=click.Path(), metavar="CHECKPOINT_OR_RUN", required=False)
@click.argument("overrides", nargs=-1, metavar="[key=value ...]")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="val", show_default=True)
@click.option("--out", type=click.Path(), help="Folder of the record; default: evaluation/SPLIT in the run.")
@click.option(
    "--group", metavar="RULE", help="Images that belong together: folder, a CSV file, or a pattern in the name."
)
@click.option(
    "--tags", type=click.Path(), metavar="FILE.csv", help="Table of image and tags; each value gets its numbers."
)
@click.option("--save-predictions", is_flag=True, help="Write predicted label maps as pictures, too.")
@tta_option
@samples_option
@click.option(
    "--tile", metavar="auto|N|off", help="Images in tiles of N pixels, as predict does; default: evaluate.tile."
)
@overlap_option
@memory_option(None)
@engine_option(None)
@click.option("--score", type=click.FloatRange(0, 1), help="Detections below it are left out before counting.")
@click.option("--predictions", type=click.Path(), metavar="FOLDER|FILE.json", help="Measure these in place of a model.")
@click.option(
    "--annotations", type=click.Path(), metavar="FOLDER|FILE.json|CONFIG.yaml", help="What they are compared with."
)
@click.option("--classes", metavar="NAME,...|PRESET", help="Classes of masks that are given by --predictions.")
@trust_option
@json_option
def command(
    checkpoint: str | None,
    overrides: tuple[str, ...],
    split: str,
    predictions: str | None,
    annotations: str | None,
    classes: str | None,
    tta: str | None,
    samples: int | None,
    tile: str | None,
    overlap: int | None,
    memory: int | None,
    engine: str | None,
    score: float | None,
    trust_code: bool,
    as_json: bool,
    **wishes: Any,
) -> None:
    """Measure a checkpoint on a split of its data, or somebody's predictions, and write the record of it.

    The checkpoint carries its config; key=value arguments change it (data.root=elsewhere). What predict --no-thresholds
    answers with the same --tta, --samples-mc, --tile, --memory, --engine and --score is what is counted.
    """
    side = tile and (tile_side(tile) or "off")
    answers = {
        "tta": tta, "samples": samples, "tile": side, "overlap": overlap, "memory": memory, "engine": engine, "score": score,
    }  # fmt: skip
    if predictions is not None:
        _refuse_answers(answers)
        changes = [text for text in (checkpoint, *overrides) if text is not None]
        result = _of_files(predictions, annotations, classes, split, changes, wishes)
    else:
        known = _checkpoint(checkpoint, annotations, classes)
        result = _of_checkpoint(known, split, overrides, trust_code, wishes, answers)
    tables = result.pop("tables")
    if as_json:
        print_json(result)
    else:
        _show(result, tables)


def _refuse_answers(answers: dict[str, Any]) -> None:
    given = [name for name, value in answers.items() if value is not None]
    if given:
        message = f"{', '.join(given)}: how a model answers; with --predictions the answers are files already"
        raise ConfigError(Problem(Place("command line"), message, "leave it out"))


def _checkpoint(checkpoint: str | None, annotations: str | None, classes: str | None) -> str:
    given = [name for name, value in (("--annotations", annotations), ("--classes", classes)) if value is not None]
    if given:
        message = f"{' and '.join(given)} belong to --predictions; a checkpoint knows its data and classes"
        raise ConfigError(Problem(Place("command line"), message, "data.root=elsewhere changes where the data is"))
    if checkpoint is None:
        message = "wanted a run folder or weights file, or --predictions with --annotations"
        raise ConfigError(Problem(Place("command line"), message, "toolkit evaluate runs/NAME"))
    return checkpoint


def _of_checkpoint(
    checkpoint: str,
    split: str,
    overrides: tuple[str, ...],
    trust_code: bool,
    wishes: dict[str, Any],
    answers: dict[str, Any],
) -> dict[str, Any]:
    from toolkit.config.load import refuse_wrong_weights

    refuse_wrong_weights(checkpoint, overrides, trust_code=trust_code)
    from toolkit.jobs.evaluate import AnswerWishes, RecordWishes, run_evaluation

    record, asked = RecordWishes(**wishes), AnswerWishes(**answers)
    return run_evaluation(checkpoint, split, overrides, trust_code=trust_code, wishes=record, answers=asked)


def _of_files(
    predictions: str,
    annotations: str | None,
    classes: str | None,
    split: str,
    changes: list[str],
    wishes: dict[str, Any],
) -> dict[str, Any]:
    if annotations is None:
        message = "--predictions needs --annotations: the masks, the COCO file or the config they are compared with"
        raise ConfigError(Problem(Place("command line"), message))
    if wishes.pop("save_predictions"):
        message = "--save-predictions writes what a model answers; these are files already"
        raise ConfigError(Problem(Place("command line"), message))
    wrong = [text for text in changes if "=" not in text]
    if wrong:
        message = f"{' '.join(wrong)}: with --predictions no checkpoint is measured"
        raise ConfigError(Problem(Place("command line"), message, "leave out the one or the other"))
    from toolkit.jobs.evaluate_files import evaluate_files

    return evaluate_files(predictions, annotations, classes=classes, split=split, overrides=changes, **wishes)


def _beside(result: dict[str, Any]) -> list[str]:
    """How sure the deciding metric is, and what an answer that sees nothing would have had in it."""
    name = result["metric"]
    known = [(one["answer"], one["metrics"].get(name)) for one in result["baseline"]]
    told = [
        f"{answer} {100 * value:.2f}" if result["percent"] else f"{answer} {value:.4g}"
        for answer, value in known
        if value is not None
    ]
    baseline = f"{name} without looking at an image: {', '.join(told)}" if told else ""
    return [line for line in (result["interval_said"], baseline) if line]


def _show(result: dict[str, Any], tables: list[Any]) -> None:
    from toolkit.engine.log import table

    for title, header, rows in tables:
        say(table(title, header, rows) + "\n")
    skipped = f", {len(result['skipped'])} skipped as bad (data.on_bad: skip)" if result["skipped"] else ""
    loss = result["losses"].get("loss")
    shown = f", loss {loss:.4f}" if loss is not None else ""
    if result["unlabelled"]:
        shown += f" ({result['unlabelled']} without a label left out)"
    took = f"{skipped} in {result['seconds']:.1f} s"
    for line in (*_beside(result), *(f"note: {note}" for note in result["notes"])):
        say(line)
    say(f"{result['checkpoint']}: {result['images']} images of '{result['split']}'{shown}{took}")
    if result["record"] is not None:
        say(f"record: {result['record']}")
    else:
        say("no record: the weights are not in a run folder; --out DIR writes one")
