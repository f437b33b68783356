"""A matrix as coloured cells in SVG: how often each true class was taken for each other one."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from toolkit.report.quantities import percent
from toolkit.report.svg import element, picture, text, titled

_NUMBERS = 16
"""Columns up to which the cells have their numbers written in them."""


def confusion_heat_map(
    shares: Sequence[Sequence[float | None]],
    counts: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    label: str,
    unit: str,
) -> Markup:
    """A confusion matrix: right ones in one colour on the diagonal, wrong ones in another, stronger where more often.

    Args:
        shares: share of each row that stands in a cell, 0..1; None for a row without anything.
        counts: what the shares are of, for the words of the cells.
        rows: names of the true classes, from top to bottom.
        columns: names of the predicted classes, from left to right; the first ones are those of the rows.
        label: says what is drawn to those who do not see it.
        unit: what is counted, in the plural ("pixels").
    """
    cell = 44 if len(columns) <= _NUMBERS else max(7, round(760 / len(columns)))
    longest = max((len(name) for name in (*rows, *columns)), default=1)
    letters = min(12, cell)
    edge = min(170.0, 18 + 0.6 * letters * min(longest, 24))
    drawn = [text("true ↓   predicted →", 2, 14, "small muted")]
    for i, name in enumerate(rows):
        y = edge + cell * (i + 0.5) + letters / 3
        drawn.append(_name(name, edge - 7, y, letters, "end"))
    for j, name in enumerate(columns):
        x = edge + cell * (j + 0.5) + letters / 3
        drawn.append(_name(name, x, edge - 7, letters, "start", f"rotate(-60 {x:.1f} {edge - 7:.1f})"))
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            if not share:
                continue
            words = (
                f"{rows[i]}: {percent(share)} taken for {columns[j]}"
                if i != j
                else f"{rows[i]}: {percent(share)} right"
            )
            place = {"x": edge + cell * j, "y": edge + cell * i, "width": cell - 1, "height": cell - 1}
            shade = "right-cell" if i == j else "wrong-cell"
            drawn.append(
                element("rect", titled(f"{words} ({counts[i][j]:,.0f} {unit})"), cls=shade, rx=2,
                        fill_opacity=round(0.06 + 0.84 * min(share, 1.0), 3), **place)
            )  # fmt: skip
            if len(columns) <= _NUMBERS and share >= 0.005:
                inside = "small cell-number strong" if share > 0.55 else "small cell-number"
                drawn.append(
                    text(f"{100 * share:.0f}", edge + cell * (j + 0.5), edge + cell * (i + 0.5) + 4, inside, "middle")
                )
    size = edge + cell * len(columns) + 60, edge + cell * len(rows) + 6
    return picture(size[0], size[1], label, *drawn, cls="natural")


def _name(name: str, x: float, y: float, letters: float, anchor: str, turned: str | None = None) -> Markup:
    short = name if len(name) <= 24 else name[:22] + "…"
    return element("text", titled(name), short, x=x, y=y, font_size=letters, text_anchor=anchor, transform=turned)
