"""docs/numbers.md and its picture, from the receipts in benchmarks/receipts/; `benchmarks.systems_table` writes both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from toolkit.report.curves import Curve, curves
from toolkit.report.page import write_drawing

Receipts = Mapping[str, Mapping[str, Any]]
PICTURE = "pretrained_curve.svg"
PRETRAINED = {
    "lite_imagenet": ("ImageNet start", (31, 119, 180)),
    "lite_random": ("random start", (214, 110, 20)),
}
"""The two receipts whose curves are drawn over one another, with their names and colours."""
_HEAD = f"""# Measured numbers

Made by `python -m benchmarks.systems_table` from the receipts in [benchmarks/receipts/](../benchmarks/receipts). A receipt holds
what was run (config with its hash, command, commit, versions), what it cost (processor minutes of all processes and workers of the
run, its evaluations included, and images seen), and what came of it (hash of the weights, numbers with intervals, curve). Brackets
are 95 % intervals from drawing independent groups of images again; where there are fewer than eight groups, as in CamVid's
val, which is one clip, they say only what that clip or stack allows, and are marked with "one series".

## Pretrained against scratch

![mIoU over images seen, from ImageNet weights and from random ones]({PICTURE})

The U-Net on EfficientNet-Lite0 of [unet_lite_camvid](../configs/unet_lite_camvid.yaml) on CamVid val at 360x480, trained from
ImageNet's weights and from random ones (the backbone then learns at the rate of the rest), with a sixth of the steps that the
config has, a whole cosine each, and weights averaged over about 20 steps (see the receipts `lite_imagenet` and `lite_random`).
Nothing was chosen by these curves. After 50, 100, 200, 300 and 400 steps: 34.16, 46.95, 59.33, 65.37 and 67.27 from ImageNet's
weights, 17.68, 26.63, 41.36, 48.28 and 54.55 from random ones: 16 to 20 points apart up to three quarters of the way, 12.7 at
its end. Both took 16 to 17 processor minutes.
"""


def page(receipts: Receipts, study: Mapping[str, Any] | None, newcomers: Mapping[str, Any] | None) -> str:
    """The page as Markdown.

    Args:
        receipts: by their names, as `benchmarks.receipt` wrote them.
        study: what `benchmarks.recipe_study` found, or None.
        newcomers: what `benchmarks.newcomer_detector` found, by the data's name, or None.
    """
    shown = [*(_recipes(study) if study else ()), *(_newcomers(newcomers) if newcomers else ())]
    parts = [_HEAD, *(["\n".join(shown)] if shown else []), "## Receipts\n"]
    for name, one in receipts.items():
        parts.append("\n".join(_section(name, one)))
    return "\n".join(parts)


def _recipes(study: Mapping[str, Any]) -> Iterator[str]:
    yield "## Which recipes helped, at toy size\n"
    texts = " ".join(f"`{text}`" for text in study["overrides"])
    mean = 100 * sum(study["without"]) / len(study["without"])
    yield (
        f"`python -m benchmarks.recipe_study`: [{study['config']}](../{study['config']}) with {texts}, {study['seeds']} seeds a "
        f"recipe, {study['steps']} steps each: {study['metric']} {mean:.2f} without any of them (a constant rate). Each "
        "recipe alone, the difference taken seed by seed, with a 95 % t-interval over the seeds. A training this short "
        "says little of long ones: averages and regularisation cost before they pay.\n"
    )
    yield f"| recipe | keys | difference of {study['metric']} in points | 95 % interval |"
    yield "|---|---|---:|---:|"
    for one in study["recipes"]:
        keys = ", ".join(f"`{text}`" for text in one["keys"])
        ends = f"{100 * one['low']:+.2f} to {100 * one['high']:+.2f}"
        yield f"| {one['recipe']} | {keys} | {100 * one['difference']:+.2f} | {ends} |"
    yield ""


def _newcomers(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## A newcomer's few minutes with boxes\n"
    yield (
        "`python -m benchmarks.newcomer_detector FOLDER`: what `toolkit init` writes, beside LibreYOLO's yolo9-t from random "
        "weights at 160 pixels; one thread, the same images to learn from, pycocotools on the same held-out ones.\n"
    )
    yield "| data | learned by | AP | AP50 | processor seconds |"
    yield "|---|---|---:|---:|---:|"
    for data, one in found.items():
        for way, numbers in one["numbers"].items():
            yield f"| {data} | {way} | {numbers['AP']:.2f} | {numbers['AP50']:.2f} | {numbers['processor_seconds']:.0f} |"
    yield ""
    for data, one in found.items():
        if one.get("note"):
            yield f"{data}: {one['note']}\n"


def _section(name: str, receipt: Mapping[str, Any]) -> Iterator[str]:
    evaluation = receipt["evaluation"]
    config = receipt["config"]
    yield f"### {name}\n"
    yield f"[{config}](../{config}): `{receipt['command']}`\n"
    if receipt["departures"]:
        yield f"Not as shipped: {', '.join(f'`{text}`' for text in receipt['departures'])}.\n"
    yield (
        f"{receipt['processor_minutes']:.1f} processor minutes, {receipt['images_seen']:,} images seen in {receipt['steps']:,} "
        f"steps; {receipt['device']}, {receipt['threads']} thread(s); weights `{receipt['weights']['sha256'][:12]}`.\n"
    )
    yield f"| {evaluation['split']}, {evaluation['images']} images | value | 95 % interval |"
    yield "|---|---:|---:|"
    for number, value in evaluation["metrics"].items():
        if value is not None and number.partition("/")[0] in (number, "IoU", "AP"):
            yield f"| {number} | {_text(value, evaluation)} | {interval(evaluation, number)} |"
    yield ""
    points = [point for point in receipt["curve"] if evaluation["metric"] in point]
    if len(points) > 1:
        yield "| step | images seen | processor minutes | " + evaluation["metric"] + " |"
        yield "|---:|---:|---:|---:|"
        for point in points:
            reached = _text(point[evaluation["metric"]], evaluation)
            yield f"| {point['step']} | {point['images_seen']:,} | {point['processor_minutes']:.1f} | {reached} |"
        yield ""


def interval(evaluation: Mapping[str, Any], name: str) -> str:
    """The ends of a number's interval, and in words where it is one inside a single group; "" without any.

    Args:
        evaluation: the section of a receipt.
        name: of the number.
    """
    within = (evaluation.get("within") or {}).get("intervals", {})
    for found, where in ((evaluation.get("intervals", {}), ""), (within, ", one series")):
        if (one := found.get(name)) and one["low"] is not None:
            return f"{_text(one['low'], evaluation)} to {_text(one['high'], evaluation)}{where}"
    return ""


def _text(value: float, evaluation: Mapping[str, Any]) -> str:
    return f"{100 * value:.2f}" if evaluation["percent"] else f"{value:.4g}"


def pretrained_curve(receipts: Receipts) -> Markup:
    """mIoU over images seen of the runs in `PRETRAINED` whose receipts are there."""
    drawn = []
    for name, (title, color) in PRETRAINED.items():
        if name in receipts:
            metric = receipts[name]["evaluation"]["metric"]
            points = [point for point in receipts[name]["curve"] if metric in point]
            drawn.append(Curve(title, [(p["images_seen"], 100 * p[metric]) for p in points], color))
    label = "mIoU on CamVid val over images seen: " + " and ".join(curve.name for curve in drawn)
    return curves(drawn, label, ("images seen", "mIoU on CamVid val, %"))


def write_numbers_page(
    receipts: Receipts, study: Mapping[str, Any] | None, newcomers: Mapping[str, Any] | None, folder: Path
) -> None:
    """Writes the page and its picture.

    Args:
        receipts: by their names.
        study: what `benchmarks.recipe_study` found, or None.
        newcomers: what `benchmarks.newcomer_detector` found, by the data's name, or None.
        folder: where both are written.
    """
    (folder / "numbers.md").write_text(page(receipts, study, newcomers), encoding="utf-8")
    write_drawing(folder / PICTURE, pretrained_curve(receipts))
