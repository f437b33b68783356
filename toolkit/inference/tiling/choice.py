"""Which tiles a picture is cut into: those that compute the fewest pixels twice within a bound of memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from toolkit.inference.tiling.plan import Results, Tile, TileGeometry, least_side, plan_tiles, tiles_needed

Pair = tuple[int, int]


class TilePlan(NamedTuple):
    """The tiles of one picture.

    Args:
        size: (height, width) of the picture as the net gets to see it.
        rows: tiles down the picture, from top to bottom.
        columns: tiles along it, from left to right.
        bytes: about what predicting takes beside the model; None where nobody asked.
    """

    size: Pair
    rows: Sequence[Tile]
    columns: Sequence[Tile]
    bytes: float | None = None

    @property
    def again(self) -> float:
        """Pixels that are computed more than once, as a share of the picture's."""
        return _computed(self.rows) * _computed(self.columns) / (self.size[0] * self.size[1]) - 1

    def __str__(self) -> str:
        """What is said of it: `3000x4000 in 2x3 tiles of 1616x1488, 20 % computed twice, about 0.9 GB`."""
        height, width = (max(tile.stop - tile.start for tile in line) for line in (self.rows, self.columns))
        memory = "" if self.bytes is None else f", about {self.bytes / 1e9:.1f} GB"
        return (
            f"{self.size[0]}x{self.size[1]} in {len(self.rows)}x{len(self.columns)} tiles of {height}x{width}, "
            f"{100 * self.again:.0f} % computed twice{memory}"
        )


def plan_of_side(
    size: Pair, cells: Pair, side: int, geometry: TileGeometry, results: Sequence[Results | None]
) -> TilePlan:
    """Tiles of at most `side` pixels each way: as few as there must be, and no larger than so many need.

    Args:
        size: (height, width) of the picture as the net gets to see it.
        cells: (h, w) of the net's output for it.
        side: a legal side, the most pixels of a tile each way.
        geometry: what the model asks of tiles.
        results: what is read in the cells, down and along; None: the cells themselves.
    """
    lines = []
    for n, c, read in zip(size, cells, results, strict=True):
        own = geometry.reaching(0 if read is None else read.reach)
        lines.append(plan_tiles(n, c, least_side(n, tiles_needed(n, side, own), own), geometry, read))
    rows, columns = lines
    return TilePlan(size, rows, columns)


def plan_within(
    size: Pair,
    cells: Pair,
    geometry: TileGeometry,
    results: Sequence[Results | None],
    cost: Callable[[Pair], float],
    memory: float,
) -> TilePlan:
    """The tiles that compute the fewest pixels, and of these the fewest tiles, of all whose cost is at most `memory`.

    Where none is cheap enough, the cheapest: `TilePlan.bytes` says what it takes.

    Args:
        size: (height, width) of the picture as the net gets to see it.
        cells: (h, w) of the net's output for it.
        geometry: what the model asks of tiles.
        results: what is read in the cells, down and along; None: the cells themselves.
        cost: bytes that a tile (height, width) takes.
        memory: bytes that a tile may take.
    """
    own = [geometry.reaching(0 if read is None else read.reach) for read in results]
    down, along = (_sides(n, one) for n, one in zip(size, own, strict=True))
    best: tuple[tuple[int, int], Pair] | None = None
    for height, number in down:

        def fits(way: tuple[int, int], height: int = height) -> bool:
            return cost((height, way[0])) <= memory

        place = bisect_left(
            along, True, key=fits
        )  # sides fall and numbers rise, so the first that fits computes the least
        if place < len(along):
            width, across = along[place]
            key = (number * height * across * width, number * across)
            if best is None or key < best[0]:
                best = key, (height, width)
    sides = best[1] if best is not None else (down[-1][0], along[-1][0])
    rows, columns = (
        plan_tiles(n, c, side, geometry, read) for n, c, side, read in zip(size, cells, sides, results, strict=True)
    )
    return TilePlan(size, rows, columns, cost(sides))


def _sides(length: int, geometry: TileGeometry) -> list[tuple[int, int]]:
    """The smallest side of a tile for each number of tiles, one first."""
    found = [(length, 1)]
    for number in range(2, tiles_needed(length, geometry.smallest, geometry) + 1):
        side = least_side(length, number, geometry)
        if side < found[-1][0]:
            found.append((side, tiles_needed(length, side, geometry)))
    return found


def _computed(tiles: Sequence[Tile]) -> int:
    return sum(tile.stop - tile.start for tile in tiles)
