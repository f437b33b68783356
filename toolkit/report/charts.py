"""Charts as SVG: named bars, histograms, a bar a layer, curves over a logarithmic axis.

SVG, because a page needs no script and no second library for it, words can be searched and copied, a pointer that
rests on a mark shows its numbers, and the colours follow the page, also in the dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from toolkit.report.quantities import round_ticks, short
from toolkit.report.svg import element, group, line, picture, text, titled

_ROW, _THICK = 22, 13
"""Pixels from one named bar to the next, and of its thickness."""
_WIDEST = 60
"""Pixels of a layer's bar, at most."""


class Frame(NamedTuple):
    """Size of a drawing in pixels, and the margins between its sides and the plot.

    Args:
        width: width of the whole drawing in pixels, margins included.
        height: height of the whole drawing in pixels, margins included.
        left: margin left of the plot in pixels.
        right: margin right of the plot in pixels.
        top: margin above the plot in pixels.
        bottom: margin below the plot in pixels.
    """

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float

    def x(self, share: float) -> float:
        """The place of 0..1 of the way from the left end of the plot to the right."""
        return self.left + (self.width - self.left - self.right) * share

    def y(self, share: float) -> float:
        """The place of 0..1 of the way from the foot of the plot to its top."""
        return self.top + (self.height - self.top - self.bottom) * (1 - share)

    def grid(self, high: float, wanted: int = 4) -> list[Markup]:
        """Lines across the plot at about `wanted` round values from 0 to `high`, which is the plot's top."""
        found = []
        for value in round_ticks(0, high, wanted):
            y = self.y(value / high)
            found += [
                line(self.left, y, self.width - self.right, y, "grid"),
                text(short(value), self.left - 8, y + 4, "small muted", "end"),
            ]
        return found

    def foot(self, words: str) -> Markup:
        """What the horizontal axis measures, below it."""
        return text(words, (self.left + self.width) / 2, self.height - 7, "small muted", "middle")


# --------------------------------------------------------------------------- bars


class NamedBar(NamedTuple):
    """A horizontal bar with a name.

    Args:
        name: written before the bar, cut after 30 letters.
        value: its length, not negative, in the unit of the others.
        words: written behind it, the value for people.
        color: (r, g, b) of the class, 0..255 each, or None.
        title: shown when the pointer rests on it; "" shows name and words.
    """

    name: str
    value: float
    words: str
    color: tuple[int, int, int] | None = None
    title: str = ""


def named_bars(bars: Sequence[NamedBar], label: str, width: int = 620) -> Markup:
    """Horizontal bars under each other, their names before them; the longest takes what names and words leave.

    Args:
        bars: the bars from top to bottom; long names are cut after 30 letters.
        label: says what is drawn to those who do not see it.
        width: width of the whole drawing in pixels.
    """
    names = min(220.0, 14 + 7.0 * max((len(_cut(bar.name)) for bar in bars), default=0))
    words = 12 + 6.6 * max((len(bar.words) for bar in bars), default=0)
    highest = max((bar.value for bar in bars), default=0) or 1
    room = max(width - names - words, 60)
    drawn = []
    for place, bar in enumerate(bars):
        y = place * _ROW
        fill = f"rgb({bar.color[0]},{bar.color[1]},{bar.color[2]})" if bar.color is not None else None
        long = max(room * bar.value / highest, 0.8 if bar.value else 0)
        drawn += [
            text(_cut(bar.name), names - 8, y + 15, "small", "end"),
            element(
                "rect", titled(bar.title or f"{bar.name}: {bar.words}"), x=names, y=y + (_ROW - _THICK) / 2, width=long,
                height=_THICK, rx=2, cls="swatch-bar" if fill else "plain-fill", fill=fill,
            ),
            text(bar.words, names + long + 7, y + 15, "small muted"),
        ]  # fmt: skip
    return picture(width, _ROW * len(bars) + 4, label, *drawn, cls="fit")


def _cut(name: str) -> str:
    return name if len(name) <= 30 else name[:28] + "…"


def histogram(names: Sequence[str], counts: Sequence[float], label: str, axis: str = "") -> Markup:
    """Counts side by side.

    Args:
        names: names of the bins, as many as counts; where they would touch, only every second or third is written.
        counts: heights of the bars, not negative.
        label: says what is drawn to those who do not see it.
        axis: what the bins measure, written below them.
    """
    frame = Frame(620, 210, 50, 14, 14, 42)
    highest = max(counts, default=0) or 1
    step = (frame.width - frame.left - frame.right) / max(len(counts), 1)
    bars = [
        _upright(
            frame, frame.left + step * i + 1, max(step - 2, 1), count / highest, "plain-fill", f"{name}: {count:,}"
        )
        for i, (name, count) in enumerate(zip(names, counts, strict=True))
    ]
    longest = max((len(name) for name in names), default=1)
    every = max(1, -(-int(longest * 7 + 10) // max(int(step), 1)))
    below = [
        text(name, frame.left + step * (i + 0.5), frame.y(0) + 16, "small muted", "middle")
        for i, name in enumerate(names)
        if i % every == 0
    ]
    axes = [frame.foot(axis)] if axis else []
    return picture(frame.width, frame.height, label, *frame.grid(highest), *bars, *below, *axes, cls="fit")


def _upright(frame: Frame, x: float, width: float, share: float, cls: str, title: str) -> Markup:
    """A bar that stands on the plot's foot; what is not zero is at least seen."""
    height = max(frame.y(0) - frame.y(share), 0.8 if share else 0)
    return element("rect", titled(title), x=x, y=frame.y(0) - height, width=width, height=height, cls=cls)


class LayerBar(NamedTuple):
    """A layer's share of a drawing.

    Args:
        name: name of the layer, for its title.
        part: backbone, neck or head, its colour.
        value: its share, in the unit of the drawing.
        note: text that is shown besides the value.
    """

    name: str
    part: str
    value: int
    note: str


def layer_bars(bars: Sequence[LayerBar], unit: str) -> Markup:
    """A thin bar a layer, in the order they run, on the colours of the parts. unit: "parameters" or "MACs"."""
    frame = Frame(1080, 170, 56, 24, 16, 26)
    highest = max((bar.value for bar in bars), default=0) or 1
    step = min((frame.width - frame.left - frame.right) / max(len(bars), 1), _WIDEST)
    width = max(step - (2 if step > 6 else 0.6), 0.8)
    drawn = [
        _upright(frame, frame.left + step * i, width, bar.value / highest, f"{bar.part}-fill",
                 f"{bar.name}\n{bar.value:,} {unit}\n{bar.note}")
        for i, bar in enumerate(bars)
    ]  # fmt: skip
    names = _parts(frame, bars, step)
    return picture(frame.width, frame.height, f"{unit} by layer", *frame.grid(highest), *names, *drawn)


def _parts(frame: Frame, bars: Sequence[LayerBar], step: float) -> list[Markup]:
    """The names of the parts below their bars."""
    found = []
    for part in dict.fromkeys(bar.part for bar in bars):
        places = [i for i, bar in enumerate(bars) if bar.part == part]
        first, last = frame.left + step * places[0], frame.left + step * (places[-1] + 1)
        y = frame.y(0) + 6
        found.append(line(first, y, max(last - 2, first + 1), y, f"{part}-line"))
        wide = last - first > 60
        anchor = "start" if wide or last < frame.width - 80 else "end"
        found.append(text(part, first if anchor == "start" else last - 2, y + 14, f"small {part}-ink", anchor))
    return found


# --------------------------------------------------------------------------- learning rates


def rate_curve(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], best: float | None
) -> Markup:
    """A learning-rate range test: the loss over the rate, on a logarithmic axis.

    Args:
        rates: learning rates of the steps, rising and greater than 0.
        losses: the loss at each of them, finite.
        smoothed: the same curve without its noise, drawn stronger.
        best: the rate that is suggested, drawn as an upright line, or None.
    """
    frame = Frame(840, 400, 62, 20, 18, 46)
    if not rates:
        nothing = text("no loss was finite", frame.x(0.5), frame.y(0.5), "muted", "middle")
        return picture(frame.width, frame.height, "Loss by learning rate", nothing, cls="fit")
    high = 1.6 * smoothed[0] if smoothed[0] > 0 else 1.0
    low, span = math.log10(rates[0]), math.log10(rates[-1] / rates[0]) or 1.0

    def x_of(rate: float) -> float:
        return frame.x((math.log10(rate) - low) / span)

    decades = range(math.ceil(low - 1e-9), math.floor(low + span + 1e-9) + 1)
    ticks = [text(f"1e{power}", x_of(10.0**power), frame.y(0) + 17, "small muted", "middle") for power in decades]
    curves = [
        element("polyline", titled(words), points=_points(frame, map(x_of, rates), values, high), cls=cls)
        for values, words, cls in ((losses, "loss of each step", "curve"), (smoothed, "smoothed loss", "curve strong"))
    ]
    inside = element("rect", x=frame.left, y=frame.top, width=frame.x(1) - frame.left, height=frame.y(0) - frame.top)
    plot = group(element("clipPath", inside, id="plot"), group(*curves, clip_path="url(#plot)"))
    drawn = [*frame.grid(high, 5), *ticks, plot, frame.foot("learning rate"), text("loss", 8, 14, "small muted")]
    if best is not None:
        x = x_of(best)
        anchor = "end" if x > frame.width - 170 else "start"
        words = text(f"suggestion {best:.1e}", x + (7 if anchor == "start" else -7), frame.top + 12,
                     "small reference-ink halo", anchor)  # fmt: skip
        drawn += [line(x, frame.y(0), x, frame.top, "reference"), words]
    return picture(frame.width, frame.height, "Loss by learning rate", *drawn, cls="fit")


def _points(frame: Frame, places: Iterable[float], values: Sequence[float], high: float) -> str:
    """The corners of a line; `high` is the plot's top."""
    return " ".join(f"{x:.1f},{frame.y(value / high):.1f}" for x, value in zip(places, values, strict=True))


def rate_lines(rates: Sequence[float], smoothed: Sequence[float], best: float | None, width: int = 44) -> list[str]:
    """A learning-rate range test in letters: a bar a row, of about three rates a decade.

    Args:
        rates: learning rates of the steps, rising and greater than 0.
        smoothed: the smoothed loss at each of them.
        best: the rate that is suggested, marked in its row, or None.
        width: letters of the longest bar, which is one and a half times the first loss.
    """
    if not smoothed:
        return []
    top = 1.5 * smoothed[0]
    each = max(1, round(len(rates) / max(1.0, 3 * math.log10(rates[-1] / rates[0])))) if len(rates) > 1 else 1
    nearest = min(range(len(rates)), key=lambda i: abs(math.log(rates[i] / best))) if best is not None else -1
    lines = [f"{'rate':>8}  {'loss':>8}"]
    for start in range(0, len(rates), each):
        value = smoothed[start]
        bar = "#" * round(width * min(value / top, 1.0))
        mark = f"  <- suggestion {best:.1e}" if start <= nearest < start + each else ""
        lines.append(f"{rates[start]:8.1e}  {value:8.4f}  {bar}{mark}")
    return lines
