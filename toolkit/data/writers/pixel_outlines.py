"""Label maps and masks as polygons along the edges of their pixels, which are the same again when they are filled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from toolkit.data.formats.outlines import Outline

_OUTSIDE = -1
"""What lies around a label map: no label."""


class Region(NamedTuple):
    """Pixels of one label that touch at their sides.

    Args:
        label: the label that all of its pixels have.
        ring: (P, 2) float64 corners x, y of its outline, whole numbers.
        holes: (Q, 2) float64 corners of each hole in it.
    """

    label: int
    ring: np.ndarray
    holes: list[np.ndarray]


def label_regions(labels: np.ndarray, left: Collection[int] = ()) -> list[Region]:
    """Every region of a label map, by rising label, those of one label from top to bottom.

    Corners are whole numbers, pixel (r, c) covers x c..c+1 and y r..r+1; the interior lies to the right of the way as it
    is seen (y down), so that an outline has a positive area in the plane x, y, and a hole a negative one. A pixel that
    touches another only at a corner is of another region. No ring meets itself: where one would, at a corner, it is two, so
    that the polygons are valid (OGC Simple Features). The memory grows with the edges, about 100 bytes each.

    Args:
        labels: (H, W) uint8 or bool.
        left: labels that are not outlined.

    >>> [(one.label, one.ring.tolist()) for one in label_regions(np.array([[0, 7, 7]], np.uint8), left=[0])]
    [(7, [[1.0, 0.0], [3.0, 0.0], [3.0, 1.0], [1.0, 1.0]])]
    """
    edges = _edges(labels, left)
    if not len(edges.pixels):
        return []
    following, pinches = _following(edges)
    order, starts = _rings(following.tolist())
    turns = np.ones(len(order), bool)
    turns[following] = edges.directions[following] != edges.directions
    corners, turned = edges.starts(), turns[order]
    x, y = corners[order].T
    ways = edges.directions[order]
    areas = np.add.reduceat(x * np.array([0, 1, 0, -1])[ways] - y * np.array([1, 0, -1, 0])[ways], starts)
    rings = np.split(corners[order[turned]].astype(np.float64), np.cumsum(np.add.reduceat(turned, starts))[:-1])
    firsts, is_outer = order[starts].tolist(), (areas > 0).tolist()
    for place in np.flatnonzero(np.logical_or.reduceat(pinches[order], starts)).tolist():
        rings[place], *holes = sorted(_loops(rings[place]), key=_twice_area, reverse=True)
        rings += holes
        firsts += [firsts[place]] * len(holes)
    is_outer += [False] * (len(rings) - len(is_outer))
    return _joined(labels, edges, np.array(firsts), rings, np.array(is_outer))


class _Edges(NamedTuple):
    """Sides of pixels between two labels, each with the pixel that lies to its right.

    Args:
        flat: the label map in a frame of `_OUTSIDE`, as one row.
        across: pixels of a line of it.
        pixels: (E,) place in `flat` of the pixel to the right, rising within each direction.
        directions: (E,) of the way along the edge, rising: 0 right, 1 down, 2 left, 3 up.
    """

    flat: np.ndarray
    across: int
    pixels: np.ndarray
    directions: np.ndarray

    def step(self, directions: np.ndarray) -> np.ndarray:
        """How far the next pixel in a direction, of any number, lies in `flat`."""
        return np.array([1, self.across, -1, -self.across])[directions % 4]

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each pixel in the label map."""
        rows, columns = np.divmod(self.pixels, self.across)
        return rows - 1, columns - 1

    def starts(self) -> np.ndarray:
        """(E, 2) x, y of the corner at which each edge begins."""
        rows, columns = self.places()
        right, below = (self.directions == 1) | (self.directions == 2), self.directions >= 2
        return np.stack([columns + right, rows + below], 1)


def _edges(labels: np.ndarray, left: Collection[int]) -> _Edges:
    """All edges of the labels that are outlined."""
    framed = np.pad(labels.astype(np.int16), 1, constant_values=_OUTSIDE)
    flat, across = framed.ravel(), framed.shape[1]
    wanted = ~np.isin(flat, [_OUTSIDE, *left])
    beside = (-across, 1, across, -1)  # to the left of the ways right, down, left, up
    found = [np.flatnonzero(wanted & (flat != np.roll(flat, -step))) for step in beside]
    directions = np.repeat(np.arange(4), [len(pixels) for pixels in found])
    return _Edges(flat, across, np.concatenate(found), directions)


def _following(edges: _Edges) -> tuple[np.ndarray, np.ndarray]:
    """(E,) number of the edge that each leads to, and whether its own label touches itself at the corner between them."""
    flat, pixels, directions = edges.flat, edges.pixels, edges.directions
    ahead = pixels + edges.step(directions)
    beyond = ahead + edges.step(directions + 3)
    own = flat[pixels]
    right, left = flat[ahead] != own, flat[beyond] == own
    pixel = np.where(right, pixels, np.where(left, beyond, ahead))
    direction = (directions + np.where(right, 1, np.where(left, 3, 0))) % 4
    size = len(flat)
    return np.searchsorted(directions * size + pixels, direction * size + pixel), right & left


def _loops(ring: np.ndarray) -> list[np.ndarray]:
    """A ring (P, 2) that meets itself at corners as rings that do not, each beginning as `_rings` lets it."""
    loops: list[list[tuple[float, float]]] = []
    way: list[tuple[float, float]] = []
    places: dict[tuple[float, float], int] = {}
    for x, y in ring.tolist():
        before = places.get((x, y))
        if before is not None:
            loops.append(way[before:])
            for corner in way[before:]:
                del places[corner]
            del way[before:]
        places[x, y] = len(way)
        way.append((x, y))
    return [begun(np.array(loop)) for loop in (*loops, way)]


def begun(ring: np.ndarray) -> np.ndarray:
    """A ring (P, 2) of x, y from the corner at which its topmost edge to the right begins, of several the leftmost.

    >>> begun(np.array([[2, 1], [0, 1], [0, 0], [2, 0]])).tolist()
    [[0, 0], [2, 0], [2, 1], [0, 1]]
    """
    following = np.roll(ring, -1, axis=0)
    starts = np.flatnonzero(following[:, 0] > ring[:, 0])
    return np.roll(ring, -starts[np.lexsort(ring[starts].T)[0]], axis=0)


def _rings(following: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The edges in the order of their rings, and where each ring begins."""
    order: list[int] = []
    starts: list[int] = []
    left = bytearray(b"\1") * len(following)
    for edge in range(len(following)):
        if left[edge]:
            starts.append(len(order))
            while left[edge]:
                left[edge] = 0
                order.append(edge)
                edge = following[edge]
    return np.array(order, np.int64), np.array(starts, np.int64)


def _joined(
    labels: np.ndarray, edges: _Edges, firsts: np.ndarray, rings: Sequence[np.ndarray], is_outer: np.ndarray
) -> list[Region]:
    """The rings put together to regions.

    Args:
        labels: (H, W) uint8 or bool.
        edges: all that are outlined.
        firsts: (R,) an edge of each ring.
        rings: (P, 2) corners of each.
        is_outer: (R,) bool, false for holes.
    """
    rows, columns = (place[firsts] for place in edges.places())
    own = labels[rows, columns].astype(int)
    found: list[Region] = []
    for label in np.unique(own).tolist():
        _, regions = cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=4)
        places = np.flatnonzero(own == label)
        numbers = regions[rows[places], columns[places]].tolist()
        holes: dict[int, list[np.ndarray]] = defaultdict(list)
        outer: dict[int, np.ndarray] = {}
        for place, number in zip(places.tolist(), numbers, strict=True):
            if is_outer[place]:
                outer[number] = rings[place]
            else:
                holes[number].append(rings[place])
        found += [
            Region(label, points, sorted(holes[number], key=lambda ring: (ring[0, 1], ring[0, 0])))
            for number, points in outer.items()
        ]
    return found


def pixel_outlines(mask: np.ndarray) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """The outline of each region of a mask, (P, 2) float64 corners, and those of its holes (`label_regions`).

    Args:
        mask: (H, W) bool, true inside of the regions.

    >>> [(ring.tolist(), holes) for ring, holes in pixel_outlines(np.array([[False, True, True]]))]
    [([[1.0, 0.0], [3.0, 0.0], [3.0, 1.0], [1.0, 1.0]], [])]
    """
    return [(one.ring, one.holes) for one in label_regions(mask.astype(bool), left=[0])]


def label_map_objects(label_map: np.ndarray, names: Sequence[str], ignored: str, left: int | None) -> list[Outline]:
    """Each region of each class of a label map as an object, in the order of the classes.

    Args:
        label_map: (H, W) uint8 class ids, 255 where nothing counts.
        names: names of the classes 0..K-1.
        ignored: name of what does not count.
        left: class that is not outlined, the background; None outlines all.
    """
    regions = label_regions(label_map, () if left is None else (left,))
    known = [names[one.label] if one.label < len(names) else ignored for one in regions]
    return [Outline(name, (one.ring,), tuple(one.holes)) for name, one in zip(known, regions, strict=True)]


def joined_ring(points: np.ndarray, holes: Sequence[np.ndarray]) -> np.ndarray:
    """One ring that goes round the holes as well, by cuts of no width: for formats whose polygons have none.

    Args:
        points: (P, 2) corners of the outer ring.
        holes: (Q, 2) corners of each hole.

    >>> square, hole = np.array([(0, 0), (9, 0), (9, 9), (0, 9)]), np.array([(3, 3), (6, 3), (6, 6)])
    >>> len(joined_ring(square, [hole]))
    9
    """
    whole = points
    for hole in holes:
        apart = ((whole[:, None] - hole[None]) ** 2).sum(-1)
        at, start = divmod(int(apart.argmin()), len(hole))
        turned = hole if _twice_area(hole) * _twice_area(points) < 0 else hole[::-1]
        start = start if turned is hole else len(hole) - 1 - start
        way = np.concatenate([turned[start:], turned[: start + 1]])
        whole = np.concatenate([whole[: at + 1], way, whole[at:]])
    return whole


def _twice_area(points: np.ndarray) -> float:
    following = np.roll(points, -1, axis=0)
    return float((points[:, 0] * following[:, 1] - points[:, 1] * following[:, 0]).sum())
