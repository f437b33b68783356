"""How a long line of pixels is cut into tiles whose results, side by side, are the whole line's: numbers only."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from toolkit.errors import ConfigError, Problem


class TileGeometry(NamedTuple):
    """What a model asks of tiles, along each axis.

    Args:
        align: tiles start at multiples of this many pixels, the least at which the net's cells fall as in the whole
            picture (16 for U-Net: its poolings).
        remainder: pixels that are left when a tile's side is divided by `align`.
        minimum: smallest legal side of a tile in pixels.
        stride: pixels from one logit to the next.
        border: pixels of a tile before its first logit; cell i starts at border + stride * i.
        halo: cells at a tile's inner edges that differ from the whole picture's, because padding stands where the
            neighbour's pixels should; 0 for unpadded convolutions.
        exact: whether a picture in tiles equals the whole one. A net that looks at everything at once (global pooling)
            cannot be tiled exactly; its halo is a compromise.
    """

    align: int
    remainder: int
    minimum: int
    stride: int
    border: int
    halo: int
    exact: bool = True

    @property
    def smallest(self) -> int:
        """The smallest side with which tiles can follow one another."""
        side = self.legal(2 * self.border + 2 * self.halo * self.stride + self.align)
        while self.step(side) < self.align:
            side += self.align
        return side

    def reaching(self, cells: int) -> TileGeometry:
        """The same for tiles that must know so many cells more of each other."""
        return self._replace(halo=self.halo + cells)

    def legal(self, at_least: int) -> int:
        """The smallest side of a tile that is not smaller than this."""
        side = max(at_least, self.minimum)
        return side + (self.remainder - side) % self.align

    def largest(self, at_most: int) -> int:
        """The largest side of a tile that is not larger than this. Raises ConfigError when that is too small."""
        side = at_most - (at_most - self.remainder) % self.align
        if side < self.smallest:
            raise ConfigError(
                Problem(
                    "tile",
                    f"tiles of {at_most} pixels are too small for this model: it needs {self.smallest} at least, of "
                    f"which {self.border + self.halo * self.stride} at each edge only serve as surroundings",
                    f"set tile to {self.smallest} or more, or to auto",
                )
            )
        return side

    def step(self, side: int) -> int:
        """Pixels from one tile to the next: the most that leaves no gap, rounded down to a multiple of `align`."""
        good = (side - 2 * self.border) // self.stride - 2 * self.halo
        return good * self.stride // self.align * self.align


class Tile(NamedTuple):
    """One tile along one axis.

    Args:
        start: first pixel of the line that it holds.
        stop: pixel of the line behind the last that it holds.
        first: first result of the line it answers for.
        last: result behind the last it answers for.
        cell: cell of the line with which its own begin.
    """

    start: int
    stop: int
    first: int
    last: int
    cell: int


class Results(NamedTuple):
    """The results of a line that are asked for, where they are not its cells themselves.

    Args:
        first: (R,) ascending, the first cell that each needs.
        last: (R,) ascending, the last cell that each needs.
    """

    first: np.ndarray
    last: np.ndarray

    @property
    def reach(self) -> int:
        """Cells by which neighbouring tiles must know more of each other, so that one of them knows all that a result needs."""
        return -(-int((self.last - self.first).max()) // 2)


def plan_tiles(
    length: int, cells: int, side: int, geometry: TileGeometry, results: Results | None = None
) -> list[Tile]:
    """Tiles of `side` pixels over a line of `length` pixels that has `cells` cells; the last may be a little shorter.

    Each result comes from one tile: neighbours are cut in the middle of what both know. All starts are multiples of
    `geometry.align`, which a step of the output's own size (388 for a 572 pixel tile of the U-Net) would not be.

    Args:
        length: number of pixels of the line.
        cells: number of cells of the whole line.
        side: pixels of a tile along this axis, a legal number.
        geometry: what the model asks of tiles.
        results: what is read in the cells; None: the cells are the results.
    """
    number = cells if results is None else len(results.first)
    if length <= side:
        return [Tile(0, length, 0, number, 0)]
    align, stride, halo = geometry.align, geometry.stride, geometry.halo
    reach = 0 if results is None else results.reach
    end = -(-(length - side) // align) * align
    starts = [*range(0, end, geometry.reaching(reach).step(side)), end]
    cuts = [0]
    for before, after in pairwise(starts):
        lowest = after // stride + halo
        known = before // stride + (side - 2 * geometry.border) // stride - halo
        if results is not None:
            lowest, known = int(np.searchsorted(results.first, lowest)), int(np.searchsorted(results.last, known))
        cuts.append((lowest + known) // 2)
    cuts.append(number)
    return [
        Tile(start, min(start + side, length), first, last, start // stride)
        for start, (first, last) in zip(starts, pairwise(cuts), strict=True)
    ]


def tiles_needed(length: int, side: int, geometry: TileGeometry) -> int:
    """How many tiles of a side `plan_tiles` lays over a line.

    Args:
        length: pixels of the line: height or width of the picture.
        side: pixels of a tile, a side that is legal for the net.
        geometry: how tiles of this net may follow one another.
    """
    if length <= side:
        return 1
    end = -(-(length - side) // geometry.align) * geometry.align
    return 1 + -(-end // geometry.step(side))


def least_side(length: int, number: int, geometry: TileGeometry) -> int:
    """The smallest side with which so many tiles, or fewer, cover a line.

    Args:
        length: number of pixels of the line.
        number: number of tiles, 1 or more.
        geometry: what the model asks of tiles.

    >>> least_side(4000, 3, TileGeometry(align=16, remainder=0, minimum=1, stride=1, border=0, halo=109))
    1488
    """
    if number == 1:
        return length
    low, high = 0, -(-max(0, length - geometry.smallest) // geometry.align)
    while low < high:
        middle = (low + high) // 2
        if tiles_needed(length, geometry.smallest + middle * geometry.align, geometry) <= number:
            high = middle
        else:
            low = middle + 1
    return min(length, geometry.smallest + low * geometry.align)
