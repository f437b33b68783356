"""The statistics of the data that a check knows by name, drawn: class frequencies, object sizes, pixels.

They stand in `Report.statistics["data"][split]`; see `toolkit.preflight.data_statistics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.labels import Color
from toolkit.report.check_blocks import Block, shown
from toolkit.report.quantities import percent
from toolkit.report.svg_bars import NamedBar, named_bars
from toolkit.report.svg_histogram import histogram

_MOST_CLASSES = 100
_SIZES = (
    ("small", "small, below 32×32"), ("medium", "medium, below 96×96"), ("large", "large"),
)  # fmt: skip
_SPREAD = (
    ("per_image", "boxes an image"), ("width", "width, px"), ("height", "height, px"), ("aspect", "width / height"),
)  # fmt: skip


def data_blocks(
    statistics: Mapping[str, Any], classes: Sequence[str], palette: Sequence[Color]
) -> tuple[list[Block], dict[str, Any]]:
    """Blocks of the known statistics, and the statistics that are left."""
    rest = {name: value for name, value in statistics.items() if name != "data"}
    splits = statistics.get("data")
    if not isinstance(splits, Mapping):
        return [], dict(statistics)
    colors = dict(zip(classes, palette, strict=False))
    blocks = [_classes(split, numbers, colors) for split, numbers in splits.items() if numbers.get("classes")]
    blocks += [_objects(split, numbers["boxes"]) for split, numbers in splits.items() if numbers.get("boxes")]
    pixels = {split: numbers for split, numbers in splits.items() if "pixel_mean" in numbers}
    return blocks + ([_pixels(pixels)] if pixels else []), rest


def _classes(split: str, numbers: Mapping[str, Any], colors: Mapping[str, Color]) -> Block:
    """A bar a class: of its pixels, else its boxes, else its images; the weight behind it."""
    classes: Mapping[str, Mapping[str, int]] = numbers["classes"]
    first = next(iter(classes.values()))
    unit = next(key for key in ("pixels", "boxes", "images") if key in first)
    total = max(1, sum(row[unit] for row in classes.values()))
    weights = numbers.get("median_frequency_weights") or [None] * len(classes)
    bars = [
        NamedBar(name, row[unit], _words(row, unit, total, weight), colors.get(name), _title(name, row, weight))
        for (name, row), weight in zip(classes.items(), weights, strict=True)
    ]
    left = len(bars) - _MOST_CLASSES
    notes = [f"and {left} more classes"] if left > 0 else []
    if any(weight is not None for weight in weights):
        notes.append("w: the weight of median-frequency balancing")
    if numbers.get("ignored_pixels"):
        every = total + numbers["ignored_pixels"]
        notes.append(f"{percent(numbers['ignored_pixels'] / every)} of all pixels are ignored")
    title = f"Classes of {split}, by {unit}"
    return Block(title, named_bars(bars[:_MOST_CLASSES], title), note="; ".join(notes))


def _words(row: Mapping[str, int], unit: str, total: int, weight: float | None) -> str:
    words = percent(row[unit] / total) if unit == "pixels" else f"{row[unit]:,}"
    if unit != "images":
        words += f" · {row['images']:,} img"
    return words if weight is None else f"{words} · w {weight:.3g}"


def _title(name: str, row: Mapping[str, int], weight: float | None) -> str:
    lines = [name, *(f"{count:,} {unit}" for unit, count in row.items())]
    return "\n".join(lines if weight is None else [*lines, f"weight {weight:.4g}"])


def _objects(split: str, boxes: Mapping[str, Any]) -> Block:
    counts = [boxes[key] for key, _ in _SIZES]
    drawing = histogram([words for _, words in _SIZES], counts, f"Object sizes of {split}", "area, COCO's borders")
    rows = [(words, *(shown(number) for number in boxes[key])) for key, words in _SPREAD if boxes.get(key)]
    note = f"{boxes['number']:,} boxes; {boxes['empty_images']:,} images without"
    header = ("", "5 %", "half", "95 %")
    return Block(f"Object sizes of {split}", drawing, header, tuple(rows), (False, True, True, True), note)


def _pixels(splits: Mapping[str, Mapping[str, Any]]) -> Block:
    """Mean and deviation of values 0..1, a column a channel."""
    channels = max(len(numbers["pixel_mean"]) for numbers in splits.values())
    names = (
        ("red", "green", "blue") if channels == 3 else ("gray",) if channels == 1 else tuple(map(str, range(channels)))
    )
    rows = [
        (f"{split}, {words}", *(f"{value:.4f}" for value in numbers[key]))
        for split, numbers in splits.items()
        for key, words in (("pixel_mean", "mean"), ("pixel_std", "deviation"))
    ]
    return Block("Pixels, 0 to 1", None, ("", *names), tuple(rows), (False, *[True] * channels))
