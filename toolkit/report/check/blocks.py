"""A check's statistics as blocks for a page: bars, histograms, tables, pairs.

`data_blocks` draws what is known of each split: class frequencies, object sizes, pixels. `statistic_blocks` shows every
other number, whatever it is called.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from toolkit.labels import Color
from toolkit.preflight.findings import BoxNumbers, ClassNumbers, SplitNumbers, Table
from toolkit.report.charts import NamedBar, histogram, named_bars
from toolkit.report.quantities import percent

_MOST_BARS = 40
_MOST_ROWS = 200
_MOST_LETTERS = 2000


@dataclass(frozen=True)
class Block:
    """A piece of the page.

    Args:
        title: heading of the piece of the page.
        drawing: an SVG above the table, or None.
        header: names of the table's columns, or none.
        rows: texts of the table's rows, or none.
        numeric: which columns of the table are aligned right.
        note: sentence below the drawing and the table.
    """

    title: str
    drawing: Markup | None = None
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    numeric: tuple[bool, ...] = ()
    note: str = ""


def table_block(table: Table) -> Block:
    """A table of the check's report as a piece of the page."""
    return _tabled(
        table.title, table.header, table.rows, [column >= table.words for column in range(len(table.header))]
    )


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
        numeric = [_are_numbers([item.get(key) for item in value]) for key in header]
        return [_tabled(title, header, [[shown(item.get(key)) for key in header] for item in value], numeric)]
    text = json.dumps(value, ensure_ascii=False, default=str)
    note = f"and {len(text) - _MOST_LETTERS:,} more letters" if len(text) > _MOST_LETTERS else ""
    return [Block(title, rows=((text[:_MOST_LETTERS],),), note=note)] if value else []


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
    numeric = [_are_numbers([item.get(key) for item in value.values()]) for key in keys]
    return _tabled(title, ("", *(spoken(key) for key in keys)), rows, [False, *numeric])


def _tabled(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> Block:
    kept = tuple(tuple(row) for row in rows[:_MOST_ROWS])
    left = len(rows) - len(kept)
    return Block(title, None, tuple(header), kept, tuple(numeric), f"and {left} more rows" if left > 0 else "")


def _are_numbers(values: Sequence[Any]) -> bool:
    """Whether a column holds numbers, or nothing."""
    return all(value is None or _is_number(value) for value in values)


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


def data_blocks(splits: Mapping[str, SplitNumbers], classes: Sequence[str], palette: Sequence[Color]) -> list[Block]:
    """The splits' numbers: class frequencies, object sizes, pixels.

    Args:
        splits: numbers of each split, by its name.
        classes: names of the labels 0..K-1.
        palette: (r, g, b) of each class, 0..255.
    """
    colors = dict(zip(classes, palette, strict=False))
    blocks = [_classes(split, numbers, colors) for split, numbers in splits.items() if numbers.classes]
    blocks += [_objects(split, numbers.boxes) for split, numbers in splits.items() if numbers.boxes is not None]
    pixels = [
        (f"{split}, {words}", values)
        for split, numbers in splits.items()
        for words, values in (("mean", numbers.pixel_mean), ("deviation", numbers.pixel_std))
        if values is not None
    ]
    return blocks + ([_pixels(pixels)] if pixels else [])


def _classes(split: str, numbers: SplitNumbers, colors: Mapping[str, Color]) -> Block:
    """A bar a class: of its pixels, else its boxes, else its images; the weight behind it."""
    first = next(iter(numbers.classes.values()))
    unit = "pixels" if first.pixels is not None else "boxes" if first.boxes is not None else "images"
    lengths = [getattr(row, unit) for row in numbers.classes.values()]
    total = max(1, sum(lengths))
    weights = numbers.median_frequency_weights or [None] * len(numbers.classes)
    bars = [
        NamedBar(name, length, _words(row, unit, length, total, weight), colors.get(name), _title(name, row, weight))
        for (name, row), length, weight in zip(numbers.classes.items(), lengths, weights, strict=True)
    ]
    left = len(bars) - _MOST_CLASSES
    notes = [f"and {left} more classes"] if left > 0 else []
    if numbers.median_frequency_weights is not None:
        notes.append("w: the weight of median-frequency balancing")
    if numbers.ignored_pixels:
        share = numbers.ignored_pixels / (total + numbers.ignored_pixels)
        notes.append(f"{percent(share)} of all pixels are ignored")
    title = f"Classes of {split}, by {unit}"
    return Block(title, named_bars(bars[:_MOST_CLASSES], title), note="; ".join(notes))


def _words(row: ClassNumbers, unit: str, length: int, total: int, weight: float | None) -> str:
    words = percent(length / total) if unit == "pixels" else f"{length:,}"
    if unit != "images":
        words += f" · {row.images:,} img"
    return words if weight is None else f"{words} · w {weight:.3g}"


def _title(name: str, row: ClassNumbers, weight: float | None) -> str:
    counts = (("pixels", row.pixels), ("images", row.images), ("boxes", row.boxes))
    lines = [name, *(f"{count:,} {unit}" for unit, count in counts if count is not None)]
    return "\n".join(lines if weight is None else [*lines, f"weight {weight:.4g}"])


def _objects(split: str, boxes: BoxNumbers) -> Block:
    names = ["small, below 32×32", "medium, below 96×96", "large"]
    drawing = histogram(
        names, [boxes.small, boxes.medium, boxes.large], f"Object sizes of {split}", "area, COCO's borders"
    )
    spreads = (
        ("boxes an image", boxes.per_image), ("width, px", boxes.width), ("height, px", boxes.height),
        ("width / height", boxes.aspect),
    )  # fmt: skip
    rows = tuple((words, *(shown(number) for number in values)) for words, values in spreads if values is not None)
    note = f"{boxes.number:,} boxes; {boxes.empty_images:,} images without"
    header = ("", "5 %", "half", "95 %")
    return Block(f"Object sizes of {split}", drawing, header, rows, (False, True, True, True), note)


def _pixels(rows: Sequence[tuple[str, Sequence[float]]]) -> Block:
    """Mean and deviation of values 0..1, a column a channel."""
    channels = max(len(values) for _, values in rows)
    names = (
        ("red", "green", "blue") if channels == 3 else ("gray",) if channels == 1 else tuple(map(str, range(channels)))
    )
    shown_rows = tuple((words, *(f"{value:.4f}" for value in values)) for words, values in rows)
    return Block("Pixels, 0 to 1", None, ("", *names), shown_rows, (False, *[True] * channels))
