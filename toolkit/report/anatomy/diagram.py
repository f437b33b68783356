"""The diagram of a model: a column a part, maps as boxes by resolution, lines for what flows between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from toolkit.analysis.anatomy import Anatomy
from toolkit.report.anatomy.cells import both
from toolkit.report.anatomy.stages import IMAGE, Board, Link, Stage
from toolkit.report.quantities import bytes_of, short
from toolkit.report.svg import element, group, line, picture, text, titled

_COLUMN = 336
_LEFT = 118
_TOP = 46
_GAP = 34
"""Pixels between boxes of a column, room for the arrow."""
_BOX = (30, 88)
"""Smallest and largest side of a box."""
_HEAD_WIDTH = 250
_HEAD_LETTERS = 36
_LETTER = 6.5
"""Pixels of a letter of 12 pixels, generously: nobody can be asked how wide a text will be."""
_LINE = 14


@dataclass(frozen=True)
class Box:
    """Where a stage is drawn, in pixels of the drawing.

    Args:
        x: place of its left side, in pixels from the left.
        y: place of its upper side, in pixels from the top.
        width: pixels from its left side to its right one.
        height: pixels from its upper side to its lower one.
    """

    x: float
    y: float
    width: float
    height: float
    words: float = 0.0
    """Pixels that the words to its right take; a line to the next column begins behind them."""

    @property
    def middle(self) -> float:
        """y of the rectangle's centre, in pixels of the drawing."""
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        """x of the rectangle's right side, in pixels of the drawing."""
        return self.x + self.width


def diagram(anatomy: Anatomy, board: Board) -> Markup:
    """Boxes as high as the logarithm of their map's height and as wide as the logarithm of its channels."""
    columns = [part for part in ("backbone", "neck", "head") if board.of(part)]
    heights = [max(_height(stage) for stage in _at(board, level)) for level in range(len(board.levels))]
    tops = [_TOP + sum(heights[:level]) + _GAP * level for level in range(len(heights))]
    boxes = {stage.key: _place(stage, anatomy, columns.index(stage.part), tops, heights) for stage in board.stages}
    boxes[IMAGE] = Box(6, boxes[board.stages[0].key].middle - 26, 76, 52)
    width = _LEFT + _COLUMN * (len(columns) - 1) + (_HEAD_WIDTH + 20 if "head" in columns else _COLUMN)
    height = max(box.y + box.height for box in boxes.values()) + 24
    return picture(
        width, height, f"Diagram of {anatomy.name}",
        _arrow_heads(), *_headings(anatomy, columns), *(_link(link, boxes) for link in board.links),
        *(_index_bytes(link, boxes) for link in board.links if link.kind == "indices"),
        _image(anatomy, boxes[IMAGE]), *(_drawn(stage, boxes[stage.key], anatomy) for stage in board.stages),
        cls="natural",
    )  # fmt: skip


def _at(board: Board, level: int) -> list[Stage]:
    return [stage for stage in board.stages if stage.level == level and stage.part != "head"] or list(board.stages[:1])


def _height(stage: Stage) -> float:
    """From the map's height: 8 pixels a doubling."""
    if stage.output is None:
        return _BOX[0]
    return min(_BOX[1], max(_BOX[0], 9.5 * math.log2(max(stage.output[1], 1)) + 6))


def _width(stage: Stage) -> float:
    return 20 + 5.5 * math.log2(max(stage.output[0], 1)) if stage.output is not None else 40


def _place(stage: Stage, anatomy: Anatomy, column: int, tops: Sequence[float], heights: Sequence[float]) -> Box:
    x = _LEFT + _COLUMN * column
    if stage.part != "head":
        room, high = heights[stage.level], _height(stage)
        words = 8 + _LETTER * max(len(words) for words in _words(stage))
        return Box(x, tops[stage.level] + (room - high) / 2, _width(stage), high, words)
    first, last = stage.span
    top, bottom = tops[first], tops[last] + heights[last]
    wanted = 18 + 16 * (len(_head_lines(stage)) + len(_gives(anatomy)))
    missing = max(0.0, wanted - (bottom - top))
    top = max(_TOP, top - missing / 2)
    return Box(x, top, _HEAD_WIDTH, max(bottom - top, wanted))


def _headings(anatomy: Anatomy, columns: Sequence[str]) -> list[Markup]:
    parts = {part.name: part for part in anatomy.parts}
    found = []
    for number, name in enumerate(columns):
        part = parts.get(name)  # type: ignore[call-overload]
        x = _LEFT + _COLUMN * number
        found.append(text(name, x, 16, f"heading {name}-ink"))
        if part is not None:
            words = f"{part.kind} · {short(part.parameters)} parameters · {short(part.macs)} MACs"
            found.append(text(words, x, 32, "small muted"))
    return found


def _image(anatomy: Anatomy, box: Box) -> Markup:
    channels, height, width = anatomy.input
    return group(
        element("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=4, cls="image-box"),
        text("image", box.x + box.width / 2, box.y - 6, "small muted", "middle"),
        text(f"{channels} ×", box.x + box.width / 2, box.y + 23, "small", "middle"),
        text(f"{height}×{width}", box.x + box.width / 2, box.y + 38, "small", "middle"),
    )


def _drawn(stage: Stage, box: Box, anatomy: Anatomy) -> Markup:
    if stage.part == "head":
        return _head(stage, box, anatomy)
    shape = element("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=3, cls=f"{stage.part}-fill box")
    lines = _words(stage)
    x, y = box.right + 8, box.middle - _LINE / 2 * (len(lines) - 1) + 4
    words = [text(words, x, y + _LINE * i, "label" if i == 0 else "small muted") for i, words in enumerate(lines)]
    return group(titled(_title(stage)), shape, *words)


def _words(stage: Stage) -> list[str]:
    """What stands beside a box: the map, the work, how far it sees."""
    lines, field = [_shape(stage), _work(stage)], stage.receptive_field
    if stage.jump is not None and field is not None:
        lines.append(f"stride {stage.jump:g} · sees {both(field)} px")
    return lines


def _shape(stage: Stage) -> str:
    if stage.output is None:
        return stage.key
    channels, height, width = stage.output
    return f"{channels} × {height}×{width}"


def _work(stage: Stage) -> str:
    number = stage.convolutions
    if not number:
        return stage.layers[-1].kind
    return f"{number} conv{'s' if number > 1 else ''} · {short(stage.parameters)} · {short(stage.macs)} MACs"


def _title(stage: Stage) -> str:
    names = [f"{row.name}  {row.kind}" for row in stage.layers]
    shown = names if len(names) <= 24 else [*names[:12], f"... {len(names) - 20} more ...", *names[-8:]]
    return "\n".join([f"{stage.part}: {stage.parameters:,} parameters, {stage.macs:,} MACs", *shown])


def _head(stage: Stage, box: Box, anatomy: Anatomy) -> Markup:
    rect = element("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=6, cls="head-fill box soft")
    work, gives = _head_lines(stage), _gives(anatomy)
    y = box.middle - 8 * (len(work) + len(gives) - 1) + 4
    words = [
        text(words, box.x + 12, y + 16 * i, "small" if i < len(work) else "small muted")
        for i, words in enumerate(work + gives)
    ]
    return group(titled(_title(stage)), rect, *words)


def _gives(anatomy: Anatomy) -> list[str]:
    """What the head answers with, a line an output."""
    outputs = next((part.output for part in anatomy.parts if part.name == "head"), ())
    lines = [f"gives {name} {'×'.join(str(n) for n in shape)}" for name, shape in outputs]
    shown = [words if len(words) <= _HEAD_LETTERS else f"{words[: _HEAD_LETTERS - 1]}…" for words in lines[:6]]
    return shown + ([f"and {len(lines) - 6} more"] if len(lines) > 6 else [])


def _head_lines(stage: Stage) -> list[str]:
    """A line a module of the head: its name, layers that multiply, parameters and MACs."""
    modules: dict[str, list[int]] = {}
    for row in stage.layers:
        names = row.name.split(".")
        totals = modules.setdefault(names[1].split("#")[0] if len(names) > 1 else row.kind, [0, 0])
        totals[0] += row.parameters
        totals[1] += row.macs
    busy = {name: totals for name, totals in modules.items() if any(totals)}
    lines = [
        f"{name}: {short(parameters)}" + (f" · {short(macs)} MACs" if macs else "")
        for name, (parameters, macs) in busy.items()
    ]
    return lines[:6] + ([f"and {len(lines) - 6} more"] if len(lines) > 6 else []) or [stage.layers[-1].kind]


def _link(link: Link, boxes: dict[str, Box]) -> Markup:
    start, end = boxes[link.source], boxes[link.target]
    cls = f"link {link.kind}"
    if link.source == IMAGE:
        return line(start.right + 2, start.middle, end.x - 8, start.middle, cls + " arrow")
    if start.x == end.x:
        return _vertical(start, end, cls)
    return element("path", titled(_link_title(link)), d=_across(link, start, end), cls=cls + " arrow")


def _index_bytes(link: Link, boxes: dict[str, Box]) -> Markup:
    """The size of pooling indices below their arrow, above whatever line passes there."""
    end = boxes[link.target]
    return text(bytes_of(link.bytes), end.x - 12, end.middle + 24, "tiny muted halo", "end")


def _link_title(link: Link) -> str:
    words = {"indices": f"pooling indices, {link.bytes:,} bytes an image", "skip": "skip connection"}
    return f"{words.get(link.kind, 'maps')}: {link.source} → {link.target}"


def _vertical(start: Box, end: Box, cls: str) -> Markup:
    """Down or up a column."""
    x = start.x + min(start.width, end.width) / 2
    if end.y > start.y:
        return line(x, start.y + start.height + 2, x, end.y - 8, cls + " arrow")
    return line(x, start.y - 2, x, end.y + end.height + 8, cls + " arrow")


def _across(link: Link, start: Box, end: Box) -> str:
    """From a box, past its words, to a box of a later column: straight where both stand in one row."""
    shift = {"skip": -7, "indices": 9}.get(link.kind, 0)
    y = start.middle + shift
    to_y = y if end.y + 4 <= y <= end.y + end.height - 4 else end.middle + shift
    x, to_x = start.right + start.words, end.x - 8
    if y == to_y:
        return f"M{x:.1f},{y:.1f} H{to_x:.1f}"
    bend = max(x, to_x - 60)
    return f"M{x:.1f},{y:.1f} H{bend:.1f} C{bend + 34:.1f},{y:.1f} {bend + 16:.1f},{to_y:.1f} {to_x:.1f},{to_y:.1f}"


def _arrow_heads() -> Markup:
    tip = element("path", d="M0,0 L8,4 L0,8 z", cls="tip")
    return element(
        "defs",
        element("marker", tip, id="tip", markerWidth=8, markerHeight=8, refX=1, refY=4, orient="auto",
                markerUnits="userSpaceOnUse"),
    )  # fmt: skip
