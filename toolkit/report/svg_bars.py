"""Named horizontal bars: class frequencies, counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from toolkit.report.svg_element import element, picture, text, titled

_ROW = 22
_BAR = 13


class NamedBar(NamedTuple):
    """value: its length, not negative. words: written behind it. color: (r, g, b) of the class, or None."""

    name: str
    value: float
    words: str
    color: tuple[int, int, int] | None = None
    title: str = ""


def named_bars(bars: Sequence[NamedBar], label: str, width: int = 620) -> Markup:
    """The drawing; the longest bar takes what the names and words leave."""
    names = min(220.0, 14 + 7.0 * max((len(_short(bar.name)) for bar in bars), default=0))
    words = 12 + 6.6 * max((len(bar.words) for bar in bars), default=0)
    highest = max((bar.value for bar in bars), default=0) or 1
    room = max(width - names - words, 60)
    drawn = []
    for place, bar in enumerate(bars):
        y = place * _ROW
        fill = f"rgb({bar.color[0]},{bar.color[1]},{bar.color[2]})" if bar.color is not None else None
        long = max(room * bar.value / highest, 0.8 if bar.value else 0)
        drawn += [
            text(_short(bar.name), names - 8, y + 15, "small", "end"),
            element(
                "rect", titled(bar.title or f"{bar.name}: {bar.words}"), x=names, y=y + (_ROW - _BAR) / 2, width=long,
                height=_BAR, rx=2, cls="swatch-bar" if fill else "plain-fill", fill=fill,
            ),
            text(bar.words, names + long + 7, y + 15, "small muted"),
        ]  # fmt: skip
    return picture(width, _ROW * len(bars) + 4, label, *drawn, cls="fit")


def _short(name: str) -> str:
    return name if len(name) <= 30 else name[:28] + "…"
