"""A model's layers gathered into what a person draws on a board: one box a part and resolution, and lines between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.analysis.anatomy import Anatomy, LayerRow, Pair, Shape

IMAGE = "image"


@dataclass(frozen=True)
class Stage:
    """The layers of one part at one resolution, or a whole head.

    Args:
        key: name of the stage in links, such as "backbone@4".
        part: part the stage belongs to: backbone, neck or head.
        level: place in the column, 0 for the finest.
        jump: image pixels between its cells, None for a head.
        output: [C, H, W] of the map it hands on, or of its last layer.
        receptive_field: (height, width) of what that map sees in image pixels, or None.
        layers: its layers, in the order they run.
        span: first and last level it takes (a head stands beside all maps it reads).
    """

    key: str
    part: str
    level: int
    jump: float | None
    output: Shape | None
    receptive_field: Pair | None
    layers: tuple[LayerRow, ...]
    span: tuple[int, int]

    @property
    def convolutions(self) -> int:
        """Layers that multiply: convolutions and linear layers."""
        return sum(1 for row in self.layers if row.macs)

    @property
    def parameters(self) -> int:
        """Sum over its layers, as the anatomy counts them."""
        return sum(row.parameters for row in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds of the stage for one image: the sum over its layers."""
        return sum(row.macs for row in self.layers)


@dataclass(frozen=True)
class Link:
    """What flows from one stage to another.

    Args:
        source: key of the stage that hands something on.
        target: key of the stage that takes it.
        kind: "flow", "skip" (from one part to a later one, not through its end) or "indices" (of pooling).
        bytes: bytes of the pooling indices of one image, else 0.
    """

    source: str
    target: str
    kind: str
    bytes: int = 0


@dataclass(frozen=True)
class Board:
    """A model as a person draws it on a board.

    Args:
        stages: stages in the order they run, a head last.
        links: what the stages hand to one another.
        levels: jump of each level in pixels, finest first.
    """

    stages: tuple[Stage, ...]
    links: tuple[Link, ...]
    levels: tuple[float, ...]

    def of(self, part: str) -> list[Stage]:
        """The stages of a part, in the order they run."""
        return [stage for stage in self.stages if stage.part == part]


def board(anatomy: Anatomy) -> Board:
    """The stages and links of an anatomy."""
    rows = [row for row in anatomy.layers if row.runs]
    keys = {row.name: _key(row, keyed) for row, keyed in _with_last(rows)}
    levels = _levels(rows)
    groups: dict[str, list[LayerRow]] = {}
    for row in rows:
        groups.setdefault(keys[row.name], []).append(row)
    links = _links(rows, keys, anatomy)
    idle = tuple(row for row in anatomy.layers if not row.runs and row.part == "head")
    handed_on = {found.layer for part in anatomy.parts for found in part.maps}
    places = {level: place for place, (level, _) in enumerate(levels)}
    stages = [
        _stage(key, group, places, handed_on) if key != "head" else _head(group, places, links, groups, idle)
        for key, group in groups.items()
    ]
    return Board(tuple(stages), tuple(links), tuple(jump for _, jump in levels))


def _with_last(rows: Sequence[LayerRow]) -> list[tuple[LayerRow, float]]:
    """Rows with the jump they stand at: their own, or that of the layer before when they have none."""
    found, last = [], 1.0
    for row in rows:
        last = row.jump[0] if row.jump is not None else last
        found.append((row, last))
    return found


def _bin(jump: float) -> int:
    """Jumps that are meant to be equal, though odd sizes make them differ by a little, fall together."""
    return round(4 * math.log2(max(jump, 2**-6)))


def _key(row: LayerRow, jump: float) -> str:
    return "head" if row.part == "head" else f"{row.part}@{2 ** (_bin(jump) / 4):g}"


def _levels(rows: Sequence[LayerRow]) -> list[tuple[int, float]]:
    bins: dict[int, float] = {}
    for row, jump in _with_last(rows):
        if row.part != "head" or row.jump is not None:
            bins.setdefault(_bin(jump), jump)
    return sorted(bins.items()) or [(0, 1.0)]


def _links(rows: Sequence[LayerRow], keys: dict[str, str], anatomy: Anatomy) -> list[Link]:
    part_of = {row.name: row.part for row in rows}
    ends: dict[str, set[str]] = {part.name: {named.layer for named in part.maps[-1:]} for part in anatomy.parts}
    links: dict[tuple[str, str], Link] = {}
    for row in rows:
        target = keys[row.name]
        # The other input of an unpooling are the indices, which have an arrow of their own.
        for source in row.sources[:1] if row.kind == "unpool" else row.sources:
            if source not in keys:
                continue
            start = keys[source]
            crossing = part_of[source] != row.part and row.part != "head"
            kind = "skip" if crossing and source not in ends.get(part_of[source], set()) else "flow"
            if start != target and not (kind == "skip" and row.kind == "unpool"):  # its indices, see `_indices`
                links.setdefault((start, target), Link(start, target, kind))
        if not row.sources and row.part == "backbone":
            links.setdefault((IMAGE, target), Link(IMAGE, target, "flow"))
    for start, target, size in _indices(anatomy, keys):
        links[start, target + "#"] = Link(start, target, "indices", size)
    return list(links.values())


def _indices(anatomy: Anatomy, keys: dict[str, str]) -> list[tuple[str, str, int]]:
    """Pooling indices go from the backbone's stage before the pooling to the neck's of the same resolution."""
    found = []
    known = set(keys.values())
    for part in anatomy.parts:
        for named in part.maps if part.name == "backbone" else ():
            start, target = (f"{name}@{2 ** (_bin(named.stride) / 4):g}" for name in ("backbone", "neck"))
            if named.index_bytes and start in known and target in known:
                found.append((start, target, named.index_bytes))
    return found


def _stage(key: str, rows: Sequence[LayerRow], places: dict[int, int], handed_on: set[str]) -> Stage:
    """handed_on: names of the rows that make maps for the next part."""
    jump = next(jump for row, jump in _with_last(rows) if row.jump is not None or row is rows[-1])
    place = places[_bin(jump)]
    made = [row for row in rows if row.output is not None]
    shown = next((row for row in reversed(made) if row.name in handed_on), made[-1] if made else rows[-1])
    return Stage(key, rows[0].part, place, jump, shown.output, shown.receptive_field, tuple(rows), (place, place))


def _head(
    rows: Sequence[LayerRow],
    places: dict[int, int],
    links: Sequence[Link],
    groups: dict[str, list[LayerRow]],
    idle: tuple[LayerRow, ...],
) -> Stage:
    """The whole head, beside the maps it reads. idle: its layers that only training uses."""
    read = [link.source for link in links if link.target == "head" and link.source in groups]
    beside = [places[_bin(row.jump[0])] for source in read for row in groups[source] if row.jump is not None] or [0]
    output = next((row.output for row in reversed(rows) if row.output is not None), None)
    return Stage("head", "head", min(beside), None, output, None, (*rows, *idle), (min(beside), max(beside)))
