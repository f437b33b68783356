"""Line charts as SVG: several named curves in one frame, with points that are marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from toolkit.labels import Color
from toolkit.report.charts import Frame
from toolkit.report.quantities import round_ticks, short
from toolkit.report.svg import element, group, line, picture, text, titled

_ROW = 17
"""Pixels from one name of the legend to the next."""
_MOST_POINTS = 400
"""Points of a curve that are drawn; of more, evenly spread ones are, and the last."""


class Curve(NamedTuple):
    """A named curve.

    Args:
        name: written in the legend at the right, cut after 22 letters.
        points: (x, y) from left to right; a y that is None interrupts it.
        color: (r, g, b) 0..255, made darker on white paper.
        marked: a point (x, y) that is drawn large, or None.
        words: what the marked point is, shown by the pointer.
    """

    name: str
    points: Sequence[tuple[float, float | None]]
    color: Color
    marked: tuple[float, float] | None = None
    words: str = ""


def curves(
    shown: Sequence[Curve],
    label: str,
    axes: tuple[str, str],
    high: tuple[float, float] | None = None,
    width: int = 620,
) -> Markup:
    """Curves over one another, both axes from 0, with a legend at the right.

    Args:
        shown: the curves; the first is on top.
        label: says what is drawn to those who do not see it.
        axes: what the horizontal and the vertical axis measure.
        high: largest x and y of the plot; None takes the largest of the curves.
        width: width of the whole drawing in pixels, legend included.
    """
    frame = Frame(width, max(300, 60 + _ROW * len(shown)), 52, 170 if len(shown) > 1 else 24, 24, 42)
    right = high[0] if high else max((x for curve in shown for x, _ in curve.points), default=1) or 1
    top = high[1] if high else max((y for curve in shown for _, y in curve.points if y is not None), default=1) or 1
    ticks = [
        text(short(value), frame.x(value / right), frame.y(0) + 17, "small muted", "middle")
        for value in round_ticks(0, right, 5)
    ]
    axis = [text(axes[1], 8, 14, "small muted"), frame.foot(axes[0])]
    drawn = [_drawn(frame, curve, right, top) for curve in reversed(shown)]
    names = _legend(frame, shown) if len(shown) > 1 else []
    return picture(frame.width, frame.height, label, *frame.grid(top, 5), *ticks, *axis, *drawn, *names, cls="fit")


def _drawn(frame: Frame, curve: Curve, right: float, top: float) -> Markup:
    """The pieces of a curve, and its marked point."""
    pieces: list[list[str]] = [[]]
    for x, y in _thinned(curve.points):
        if y is None:
            pieces.append([])
        else:
            pieces[-1].append(f"{frame.x(x / right):.1f},{frame.y(min(y, top) / top):.1f}")
    lines = [element("polyline", points=" ".join(piece), cls="class-line") for piece in pieces if len(piece) > 1]
    lone = [piece[0].split(",") for piece in pieces if len(piece) == 1]
    dots = [element("circle", cx=x, cy=y, r=2.5, cls="class-dot") for x, y in lone]
    marks = []
    if curve.marked is not None:
        x, y = curve.marked
        marks.append(
            element("circle", titled(curve.words or curve.name), cx=frame.x(x / right), cy=frame.y(y / top), r=5,
                    cls="class-dot mark")
        )  # fmt: skip
    return group(titled(curve.name), *lines, *dots, *marks, style=_style(curve))


def _thinned(points: Sequence[tuple[float, float | None]]) -> Sequence[tuple[float, float | None]]:
    if len(points) <= _MOST_POINTS:
        return points
    step = (len(points) - 1) / (_MOST_POINTS - 1)
    return [points[round(number * step)] for number in range(_MOST_POINTS)]


def _legend(frame: Frame, shown: Sequence[Curve]) -> list[Markup]:
    x = frame.width - frame.right + 16
    found = []
    for number, curve in enumerate(shown):
        y = frame.top + _ROW * number + 6
        name = curve.name if len(curve.name) <= 22 else curve.name[:20] + "…"
        found.append(group(titled(curve.name), line(x, y, x + 16, y, "class-line"), style=_style(curve)))
        found.append(text(name, x + 22, y + 4, "small"))
    return found


def _style(curve: Curve) -> str:
    return f"--line:rgb({curve.color[0]},{curve.color[1]},{curve.color[2]})"
