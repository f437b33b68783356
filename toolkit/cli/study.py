"""`toolkit study`."""

from __future__ import annotations

from typing import Any

import click

from toolkit.cli.options import json_option, print_json, say


@click.command("study", epilog="Example: toolkit study configs/tiny/unet_shapes.yaml --folds 3 train.steps=100")
@click.argument("config", type=click.Path())
@click.argument("overrides", nargs=-1, metavar="[key=value ...]")
@click.option(
    "--folds", type=int, help="So many parts of the training data, each measured once by a model of the others."
)
@click.option("--seeds", type=int, help="So many trainings that differ in the seed alone; also with the other options.")
@click.option("--shares", metavar="25,50,100", help="Per cents of the training images: a learning curve with its band.")
@click.option(
    "--vary", multiple=True, metavar="KEY=a,b", help="A training for each value; several keys: each with each."
)
@click.option("--out", type=click.Path(), metavar="DIR", help="Folder of the study; default runs/NAME-study.")
@click.option("--resume", is_flag=True, help="Go on with the study in that folder; what is done stays.")
@json_option
def command(
    config: str, overrides: tuple[str, ...], folds: int | None, seeds: int | None, shares: str | None,
    vary: tuple[str, ...], out: str | None, resume: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train a config several times and say what the runs have in common.

    Each run is an ordinary run folder inside the study's, the same to the bit as trained alone. The answer is the mean of
    the last evaluations with a 95 % interval over the runs; study.json keeps it.
    """
    from toolkit.config.load import load_config

    load_config(config, overrides)  # a typo shall not wait for torch
    from toolkit.jobs.study import run_study
    from toolkit.jobs.study_plan import Asked, shares_of

    asked = Asked(folds, seeds, shares_of(shares) if shares is not None else (), vary)
    result = run_study(config, overrides, asked, out, resume=resume)
    if as_json:
        print_json(result)
    else:
        _tell(result)


def _tell(result: dict[str, Any]) -> None:
    from toolkit.engine.log import table

    metric, percent = result["metric"], result["percent"]
    rows = [
        [run["name"], str(run["images"]), _number(run["value"], percent=percent), _ends(run["image_interval"], percent)]
        for run in result["runs"]
    ]
    say(table(f"Runs in {result['study']}", ["run", "images", metric, "95 % over images (best weights)"], rows) + "\n")
    if len(result["settings"]) > 1:
        found = [
            [one["setting"], str(one["groups"]), _number(one["value"], percent=percent), _ends(one, percent)]
            for one in result["settings"]
        ]
        say(table("By setting", ["setting", "runs", metric, "95 % over runs"], found) + "\n")
    ends = {"low": result["low"], "high": result["high"]}
    say(f"{metric} {_number(result['mean'], percent=percent)} ({_ends(ends, percent)}); {result['how']}")
    curve = result.get("curve", {})
    if "why" in curve:
        say(curve["why"])
    elif curve:
        gain = curve["doubling"]
        low, high = (_number(gain[end], percent=percent, signed=True) for end in ("low", "high"))
        between = (
            f"{low} to {high}"
            if gain["low"] is not None
            else f"{_number(gain['value'], percent=percent, signed=True)}, no band"
        )
        say(f"twice the data ({gain['to']:,} images): {between} {metric}; {curve['how']}")


def _number(value: float | None, *, percent: bool, signed: bool = False) -> str:
    if value is None:
        return "-"
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.2f}" if percent else f"{value:{sign}.4g}"


def _ends(interval: dict[str, Any] | None, percent: bool) -> str:
    if interval is None or interval["low"] is None:
        return "no interval"
    return f"{_number(interval['low'], percent=percent)} to {_number(interval['high'], percent=percent)}"
