"""A check's statistics as blocks for a page: bars, histograms, tables, pairs.

`data_blocks` draws what it knows by name (`Report.statistics["data"][split]`, see `preflight/data/statistics.py`), class
frequencies, object sizes and pixels; `statistic_blocks` shows everything else, whatever it is called.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from toolkit.labels import Color
from toolkit.preflight.findings import Table
from toolkit.report.charts import NamedBar, histogram, named_bars
from toolkit.report.quantities import percent

_MOST_BARS = 40
_MOST_ROWS = 200


@dataclass(frozen=True)
class Block:
    """A piece of the page. drawing: or None. header, rows: of a table, or (). numeric: columns to align right."""

    title: str
    drawing: Markup | None = None
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    numeric: tuple[bool, ...] = ()
    note: str = ""


def table_block(table: Table) -> Block:
    """A table of the report."""
    return _tabled(table.title, table.header, table.rows)


def statistic_blocks(statistics: Mapping[str, Any]) -> list[Block]:
    """A block a statistic that is a collection, and one for all that are single values."""
    single = {name: value for name, value in statistics.items() if _is_plain(value)}
    blocks = [block for name, value in statistics.items() if not _is_plain(value) for block in _blocks(name, value)]
    if single:
        blocks.append(_pairs("Other numbers", single))
    return blocks


def _blocks(name: str, value: Any) -> list[Block]:
    title = spoken(name)
    if isinstance(value, Mapping):
        if value and all(_is_number(item) for item in value.values()) and len(value) > 2:
            return [_bars(title, value)]
        if value and all(isinstance(item, Mapping) and _all_plain(item) for item in value.values()):
            return [_of_mappings(title, value)]
        plain = {key: item for key, item in value.items() if _is_plain(item)}
        inner = [(key, item) for key, item in value.items() if not _is_plain(item)]
        found = [_pairs(title, plain)] if plain else []
        return found + [block for key, item in inner for block in _blocks(f"{name}: {spoken(str(key))}", item)]
    if isinstance(value, Sequence) and value and all(isinstance(item, Mapping) for item in value):
        header = tuple(dict.fromkeys(str(key) for item in value for key in item))
        return [_tabled(title, header, [[shown(item.get(key)) for key in header] for item in value])]
    return [Block(title, rows=((json.dumps(value, ensure_ascii=False, default=str)[:2000],),))] if value else []


def _bars(title: str, values: Mapping[str, Any]) -> Block:
    bars = [
        NamedBar(str(name), max(float(number), 0.0) if math.isfinite(float(number)) else 0.0, shown(number))
        for name, number in list(values.items())[:_MOST_BARS]
    ]
    left = len(values) - len(bars)
    return Block(title, named_bars(bars, title), note=f"and {left} more" if left > 0 else "")


def _pairs(title: str, values: Mapping[str, Any]) -> Block:
    rows = tuple((spoken(str(name)), shown(value)) for name, value in values.items())
    return Block(title, rows=rows, numeric=(False, False))


def _of_mappings(title: str, value: Mapping[str, Mapping[str, Any]]) -> Block:
    keys = tuple(dict.fromkeys(str(key) for item in value.values() for key in item))
    rows = [[str(name), *(shown(item.get(key)) for key in keys)] for name, item in value.items()]
    return _tabled(title, ("", *(spoken(key) for key in keys)), rows)


def _tabled(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Block:
    kept = tuple(tuple(str(cell) for cell in row) for row in rows[:_MOST_ROWS])
    numeric = tuple(
        bool(kept) and all(_looks_numeric(row[column]) for row in kept if column < len(row))
        for column in range(len(header))
    )
    left = len(rows) - len(kept)
    return Block(title, None, tuple(header), kept, numeric, f"and {left} more rows" if left > 0 else "")


def _looks_numeric(cell: str) -> bool:
    return not cell.strip() or (cell.strip()[0] in "0123456789+-–.−" and len(cell) < 24)


def spoken(name: str) -> str:
    """A key as a title.

    >>> spoken("pixel_mean")
    'Pixel mean'
    """
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def shown(value: Any) -> str:
    """A plain value as text; lists with commas, nothing as a dash.

    >>> shown([0.5, 0.25]), shown(None), shown(12345), shown(True)
    ('0.5, 0.25', '–', '12,345', 'yes')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(item) for item in value)
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_plain(value: Any) -> bool:
    """A single value or a short list of them."""
    if isinstance(value, (list, tuple)):
        return len(value) <= 16 and all(not isinstance(item, (list, tuple, Mapping)) for item in value)
    return not isinstance(value, Mapping)


def _all_plain(values: Mapping[str, Any]) -> bool:
    return all(_is_plain(value) for value in values.values())


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
