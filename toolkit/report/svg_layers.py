"""Parameters or MACs by layer: a thin bar a layer, in the order they run, on the colours of the parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from toolkit.analysis.anatomy import LayerRow
from toolkit.report.quantities import round_ticks, short
from toolkit.report.svg_element import element, line, picture, text, titled

_WIDTH, _HEIGHT = 1080, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 16, 26
_WIDEST = 60


class Bar(NamedTuple):
    """A layer's share of the drawing. note: what stands in its title besides the value."""

    name: str
    part: str
    value: int
    note: str


def bars_of(rows: Sequence[LayerRow], field: str) -> list[Bar]:
    """A bar a layer that has weights; what belongs to it and has a few (its batch norm) stands in the title.

    field: "parameters" or "macs". The sum of all bars is the sum of all rows: numbers of layers without MACs, such as
    norms, are added to the layer before them.
    """
    bars: list[Bar] = []
    for row in rows:
        value = getattr(row, field)
        if bars and not row.macs and row.runs and bars[-1].part == row.part:
            last = bars[-1]
            note = f"{last.note}\nwith {row.name}: {value:,}" if value else last.note
            bars[-1] = last._replace(value=last.value + value, note=note)
        elif row.macs or value:
            shape = f"{row.output[0]}×{row.output[1]}×{row.output[2]}" if row.output else "only while training"
            bars.append(Bar(row.name, row.part, value, f"{row.kind}, {shape}"))
    return bars


def layer_bars(bars: Sequence[Bar], unit: str) -> Markup:
    """The drawing. unit: "parameters" or "MACs", for titles."""
    highest = max((bar.value for bar in bars), default=0) or 1
    room = _WIDTH - _LEFT - _RIGHT
    step = min(room / max(len(bars), 1), _WIDEST)
    width = max(step - (2 if step > 6 else 0.6), 0.8)

    def y_of(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - value / highest)

    drawn = [
        element(
            "rect", titled(f"{bar.name}\n{bar.value:,} {unit}\n{bar.note}"), x=_LEFT + step * i, y=y_of(bar.value),
            width=width, height=max(y_of(0) - y_of(bar.value), 0.6), cls=f"{bar.part}-fill",
        )
        for i, bar in enumerate(bars)
    ]  # fmt: skip
    return picture(_WIDTH, _HEIGHT, f"{unit} by layer", *_grid(highest, y_of), *_parts(bars, step), *drawn)


def _grid(highest: float, y_of: Callable[[float], float]) -> list[Markup]:
    found = []
    for value in round_ticks(0, highest, 4):
        y = y_of(value)
        found += [
            line(_LEFT, y, _WIDTH - _RIGHT, y, "grid"),
            text(short(value), _LEFT - 8, y + 4, "small muted", "end"),
        ]
    return found


def _parts(bars: Sequence[Bar], step: float) -> list[Markup]:
    """The names of the parts below their bars."""
    found = []
    for part in dict.fromkeys(bar.part for bar in bars):
        places = [i for i, bar in enumerate(bars) if bar.part == part]
        first, last = _LEFT + step * places[0], _LEFT + step * (places[-1] + 1)
        y = _HEIGHT - _BOTTOM + 6
        found.append(line(first, y, max(last - 2, first + 1), y, f"{part}-line"))
        wide = last - first > 60
        anchor = "start" if wide or last < _WIDTH - 80 else "end"
        found.append(text(part, first if anchor == "start" else last - 2, y + 14, f"small {part}-ink", anchor))
    return found
