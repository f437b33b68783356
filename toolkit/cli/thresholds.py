"""`toolkit thresholds`."""

from __future__ import annotations

from typing import Any

import click

from toolkit.cli.options import json_option, print_json, say, trust_option


@click.command("thresholds", epilog="Example: toolkit thresholds runs/mine --goal precision=0.9 --report-split test")
@click.argument("checkpoint", type=click.Path(), metavar="CHECKPOINT_OR_RUN")
@click.argument("overrides", nargs=-1, metavar="[key=value ...]")
@click.option(
    "--goal",
    required=True,
    metavar="f1|precision=P|recall=R|risk=A",
    help="Of each class: the largest F1; at least this precision, or recall; or a share of misses that is guaranteed on "
    "average for new images (conformal risk control).",
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    default="val",
    show_default=True,
    help="Where the thresholds are chosen.",
)
@click.option(
    "--report-split",
    type=click.Choice(["train", "val", "test"]),
    help="Where their precision and recall are measured; default: test, where the config has it, else the same split.",
)
@click.option("--fallback", metavar="CLASS", help="What pixels below become; default: 255, no class. Label maps only.")
@trust_option
@json_option
def command(
    checkpoint: str,
    overrides: tuple[str, ...],
    goal: str,
    split: str,
    report_split: str | None,
    fallback: str | None,
    trust_code: bool,
    as_json: bool,
) -> None:
    """Choose score thresholds for each class, and keep them in the checkpoint.

    `predict` uses them from then on. A run stands for its best weights; name last.safetensors to choose for those. The
    weights stay as they are. A goal that a class does not reach is said, and that class gets no threshold.
    """
    from toolkit.config.load import refuse_wrong_weights

    refuse_wrong_weights(checkpoint, overrides, trust_code=trust_code)
    from toolkit.jobs.thresholds import choose_thresholds

    result = choose_thresholds(
        checkpoint, goal, split, report_split, overrides, fallback=fallback, trust_code=trust_code
    )  # fmt: skip
    if as_json:
        print_json(result)
    else:
        _say(result)


def _say(result: dict[str, Any]) -> None:
    from toolkit.engine.log import table

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.2f}"

    rows = [
        [name, "none" if point["threshold"] is None else f"{point['threshold']:.4f}",
         *(percent(point["chosen"][key]) for key in ("precision", "recall", "f1")),
         *(percent(point[key]) for key in ("precision", "recall", "f1"))]
        for name, point in result["by_class"].items()
    ]  # fmt: skip
    chosen, reported = result["split"], result["report_split"]
    header = ["class", "threshold", f"P {chosen}", f"R {chosen}", f"F1 {chosen}"]
    say(table(f"Thresholds for {result['goal']}", [*header, f"P {reported}", f"R {reported}", f"F1 {reported}"], rows))
    for note in result["notes"]:
        say(f"note: {note}", err=True)
    say(f"kept in {result['checkpoint']}; predict uses them")
