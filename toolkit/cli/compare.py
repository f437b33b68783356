"""`toolkit compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from toolkit.cli.options import json_option, print_json, say

if TYPE_CHECKING:
    from toolkit.results.comparison import ChangedImage, Comparison, Difference

_SHOWN_IMAGES = 8


@click.command("compare", epilog="Example: toolkit compare runs/unet_seed0 runs/unet_wide --out compared")
@click.argument("runs", nargs=-1, required=True, type=click.Path(), metavar="RUN_A RUN_B [RUN_C ...]")
@click.option("--seeds", is_flag=True, help="Compare two recipes by three or more trainings of each.")
@click.option("--split", help="Which record of the runs; default val, or the only one.")
@click.option("--out", type=click.Path(), help="Folder for comparison.json and the page.")
@json_option
def command(runs: tuple[str, ...], seeds: bool, split: str | None, out: str | None, as_json: bool) -> None:
    """Is B better than A, on the same images?

    RUN is a run folder that `toolkit evaluate` has measured, or the folder of a record. Every run is held against the
    first, by drawing the images again for both; verdicts of classes are made together (Holm).

    With --seeds the runs are trainings of two recipes: those whose configs differ in seed and name alone are one. Or
    give two patterns in quotes, one a recipe: toolkit compare --seeds 'runs/a*' 'runs/b*'
    """
    from toolkit.jobs.compare import compare_runs, write_comparison
    from toolkit.jobs.compare_recipes import compare_recipes

    comparison = compare_recipes(runs, split) if seeds else compare_runs(runs, split)
    result = comparison.as_json()
    if out is not None:
        from toolkit.jobs.report import write_comparison_report

        result["written"] = str(write_comparison(comparison, out))
        report = write_comparison_report(result, out)
        result["page"] = report["page"]
        for note in report["notes"]:
            say(f"note: {note}", err=True)
    if as_json:
        print_json(result)
        return
    _print(comparison)
    if out is not None:
        say(f"\n{result['written']}\n{result['page']}")


def _print(comparison: Comparison) -> None:
    from toolkit.engine.log import table

    percent = bool(comparison.facts["percent"])
    for other in range(1, len(comparison.names)):
        say(f"{comparison.names[other]} (b) against {comparison.names[0]} (a)\n")
        found = [one for one in comparison.differences if one.pair[1] == other]
        for title, rows in (("", _scalars(found)), ("Classes", _by_class(found, comparison.metric))):
            if rows:
                header = [(title and "class") or "metric", "a", "b", "b - a", "95 % interval", "verdict"]
                say(table(title, header, [_row(one, percent) for one in rows]) + "\n")
        _say_why(comparison, other, percent)
    say(comparison.said + ".")
    for note in comparison.notes:
        say(f"note: {note}")
    changed = [image for image in comparison.images if image.difference][:_SHOWN_IMAGES]
    if changed:
        title = f"Images that changed most, {comparison.metric} of each alone"
        shown = [_image_row(image, percent) for image in changed]
        say("\n" + table(title, ["image", "a", "b", "b - a"], shown))


def _say_why(comparison: Comparison, other: int, percent: bool) -> None:
    """Why the deciding metric has no interval, and what is known within the clip; or the verdict in a sentence."""
    told = comparison.of(comparison.metric, other)
    if told is None:
        return
    if not told.why:
        say(f"{comparison.metric}: {comparison.names[other]} is {_sentence(told)} {comparison.names[0]}.")
        return
    say(f"{comparison.metric}: {told.why}, so that nothing can be said of other images.")
    inside = comparison.within["differences"] if comparison.within is not None else []
    for one in inside:
        if one.metric == comparison.metric and one.pair[1] == other and not one.why and comparison.within is not None:
            ends = _interval(one, percent)
            say(f"{_text(_change(one), percent, '+')} ({ends}), {one.verdict}, {comparison.within['said']}.")


def _sentence(told: Difference) -> str:
    return "within noise of" if told.verdict == "within noise" else f"{told.verdict} than"


def _scalars(found: Sequence[Difference]) -> list[Difference]:
    return [one for one in found if "/" not in one.metric]


def _by_class(found: Sequence[Difference], metric: str) -> list[Difference]:
    """The classes of the kind that the deciding metric is the mean of; others are in the JSON."""
    kinds = list(dict.fromkeys(one.metric.split("/")[0] for one in found if "/" in one.metric))
    kind = next(
        (kind for kind in kinds if kind == metric.lstrip("m")), next((kind for kind in kinds if kind in metric), None)
    )
    return [one for one in found if "/" in one.metric and one.metric.split("/")[0] == (kind or (kinds or [""])[0])]


def _image_row(image: ChangedImage, percent: bool) -> list[str]:
    ends = [_text(value, percent) for value in (image.values[0], image.values[-1])]
    return [image.image, *ends, _text(image.difference, percent, "+")]


def _row(one: Difference, percent: bool) -> list[str]:
    numbers = [_text(one.a, percent), _text(one.b, percent), _text(_change(one), percent, "+")]
    verdict = "-" if one.why else one.verdict
    return [one.metric, *numbers, _interval(one, percent) or one.why.removeprefix("no interval: "), verdict]


def _interval(one: Difference, percent: bool) -> str:
    if one.low is None or one.high is None:
        return ""
    return f"{_text(one.low, percent, '+')} to {_text(one.high, percent, '+')}"


def _change(one: Difference) -> float | None:
    return None if one.a is None or one.b is None else one.b - one.a


def _text(value: float | None, percent: bool, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{100 * value:{sign}.2f}" if percent else f"{value:{sign}.4g}"
