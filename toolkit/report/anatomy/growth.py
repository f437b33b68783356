"""The receptive field by depth: a point a layer, the range as a band, and the image's size to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from toolkit.analysis.anatomy import Anatomy, LayerRow
from toolkit.report.quantities import round_ticks
from toolkit.report.svg import element, group, line, picture, text, titled

Scale = Callable[[float], float]

_WIDTH, _HEIGHT = 1080, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 22, 44
_PLOT = _HEIGHT - _TOP - _BOTTOM
_GROWING = ("unpool", "upsample", "resize", "interpolate", "transposed conv")
"""Kinds that make maps larger: drawn as triangles."""
_JOINING = ("concat", "add", "mul")


def growth(anatomy: Anatomy) -> Markup | None:
    """The plot, or None for a model without receptive fields. The larger of height and width is drawn."""
    rows = [row for row in anatomy.layers if row.runs and row.receptive_field is not None and not row.whole_image]
    if not rows:
        return None
    size = max(anatomy.input[1:])
    largest = max(max(row.receptive_field or (0, 0)) for row in rows)
    high = max(1.08 * largest, min(1.06 * size, 3 * largest))
    deepest = max(max(row.depth for row in rows), 1)

    def x_of(depth: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * depth / deepest

    def y_of(pixels: float) -> float:
        return _TOP + _PLOT * (1 - pixels / high)

    return picture(
        _WIDTH, _HEIGHT, f"Receptive field of {anatomy.name} by depth",
        *_spans(rows, x_of), *_grid(high, deepest, x_of, y_of), _band(rows, x_of, y_of),
        *_image_size(size, high, y_of), *_points(rows, x_of, y_of),
    )  # fmt: skip


def _largest(row: LayerRow) -> int:
    return max(row.receptive_field or (0, 0))


def _smallest(row: LayerRow) -> int:
    return max(row.receptive_field_min or row.receptive_field or (0, 0))


def _spans(rows: Sequence[LayerRow], x_of: Scale) -> list[Markup]:
    """A tinted strip a part, from where the part before it ends."""
    found: list[Markup] = []
    start = x_of(0)
    for part in dict.fromkeys(row.part for row in rows):
        end = max(x_of(max(row.depth for row in rows if row.part == part)), start)
        strip = element("rect", x=start, y=_TOP, width=end - start, height=_PLOT, cls=f"{part}-fill tint")
        words = text(part, end - 6, _TOP + _PLOT - 8, f"small {part}-ink", "end") if end - start > 70 else ""
        found += [strip, Markup(words)]
        start = end
    return found


def _grid(high: float, deepest: int, x_of: Scale, y_of: Scale) -> list[Markup]:
    found = []
    for pixels in round_ticks(0, high, 5):
        y = y_of(pixels)
        found += [
            line(_LEFT, y, _WIDTH - _RIGHT, y, "grid"),
            text(f"{pixels:g}", _LEFT - 8, y + 4, "small muted", "end"),
        ]
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if deepest / step <= 14)
    for depth in range(0, deepest + 1, step):
        found.append(text(str(depth), x_of(depth), _HEIGHT - _BOTTOM + 16, "small muted", "middle"))
    foot = _HEIGHT - 8
    found.append(text("convolutions and linear layers on the way", (_LEFT + _WIDTH) / 2, foot, "small muted", "middle"))
    found.append(text("px", _LEFT - 8, _TOP - 8, "small muted", "end"))
    return found


def _band(rows: Sequence[LayerRow], x_of: Scale, y_of: Scale) -> Markup:
    """At each depth from the smallest field to the largest: of parallel branches, and of positions."""
    by_depth: dict[int, tuple[int, int]] = {}
    for row in rows:
        low, high = by_depth.get(row.depth, (10**9, 0))
        by_depth[row.depth] = min(low, _smallest(row)), max(high, _largest(row))
    depths = sorted(by_depth)
    above = [f"{x_of(d):.1f},{y_of(by_depth[d][1]):.1f}" for d in depths]
    below = [f"{x_of(d):.1f},{y_of(by_depth[d][0]):.1f}" for d in reversed(depths)]
    return group(
        element("polygon", points=" ".join(above + below), cls="band"),
        element("polyline", points=" ".join(above), cls="curve"),
    )


def _image_size(size: int, high: float, y_of: Scale) -> list[Markup]:
    if size > high:
        return [text(f"the image is {size} px, above this plot", _WIDTH - _RIGHT, _TOP - 8, "small muted", "end")]
    y = y_of(size)
    return [
        line(_LEFT, y, _WIDTH - _RIGHT, y, "reference"),
        text(f"image {size} px", _LEFT + 8, y - 5, "small reference-ink halo"),
    ]


def _points(rows: Sequence[LayerRow], x_of: Scale, y_of: Scale) -> list[Markup]:
    """One mark a place; layers that fall together share it and its title."""
    places: dict[tuple[int, int, str], list[LayerRow]] = {}
    for row in rows:
        places.setdefault((row.depth, _largest(row), row.part), []).append(row)
    return [_mark(x_of(depth), y_of(pixels), part, found) for (depth, pixels, part), found in places.items()]


def _mark(x: float, y: float, part: str, rows: Sequence[LayerRow]) -> Markup:
    kinds = " ".join(row.kind for row in rows)
    cls = f"{part}-fill mark"
    if any(kind in kinds for kind in _GROWING):
        points = f"{x - 5:.1f},{y + 4:.1f} {x + 5:.1f},{y + 4:.1f} {x:.1f},{y - 5:.1f}"
        return element("polygon", titled(_title(rows)), points=points, cls=cls)
    if any(kind in kinds for kind in _JOINING):
        return element("rect", titled(_title(rows)), x=x - 3.5, y=y - 3.5, width=7, height=7, cls=cls)
    return element("circle", titled(_title(rows)), cx=x, cy=y, r=3.2, cls=cls)


def _title(rows: Sequence[LayerRow]) -> str:
    first = rows[0]
    low, high = first.receptive_field_min, first.receptive_field or (0, 0)
    field = f"{high[0]}×{high[1]} px"
    if first.position_dependent and low is not None:
        field = f"{low[0]}×{low[1]} to {field}, by position"
    names = [f"{row.name}  {row.kind}" for row in rows[:8]] + ([f"and {len(rows) - 8} more"] if len(rows) > 8 else [])
    return "\n".join([f"sees {field}", *names])
