"""A histogram: counts between edges, side by side bars."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from toolkit.report.quantities import round_ticks, short
from toolkit.report.svg_element import element, line, picture, text, titled

_WIDTH, _HEIGHT = 620, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 14, 14, 42


def histogram(names: Sequence[str], counts: Sequence[float], label: str, axis: str = "") -> Markup:
    """names: of the bins, as many as counts. axis: what they measure, below them."""
    highest = max(counts, default=0) or 1
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(counts), 1)

    def y_of(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - value / highest)

    grid = [
        part
        for value in round_ticks(0, highest, 4)
        for part in (
            line(_LEFT, y_of(value), _WIDTH - _RIGHT, y_of(value), "grid"),
            text(short(value), _LEFT - 7, y_of(value) + 4, "small muted", "end"),
        )
    ]
    bars = [
        element(
            "rect", titled(f"{name}: {count:,}"), x=_LEFT + step * i + 1, y=y_of(count), width=max(step - 2, 1),
            height=max(y_of(0) - y_of(count), 0.8 if count else 0), cls="plain-fill",
        )
        for i, (name, count) in enumerate(zip(names, counts, strict=True))
    ]  # fmt: skip
    longest = max((len(name) for name in names), default=1)
    every = max(1, -(-int(longest * 7 + 10) // max(int(step), 1)))
    below = [
        text(name, _LEFT + step * (i + 0.5), _HEIGHT - _BOTTOM + 16, "small muted", "middle")
        for i, name in enumerate(names)
        if i % every == 0
    ]
    axes = [text(axis, (_LEFT + _WIDTH) / 2, _HEIGHT - 6, "small muted", "middle")] if axis else []
    return picture(_WIDTH, _HEIGHT, label, *grid, *bars, *below, *axes, cls="fit")
