"""Masks as polygons along the edges of their pixels, which are the same mask again when they are filled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np

from toolkit.data.formats.outlines import Outline

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""Directions x, y: right, down, left, up; one further is a turn to the right."""


def pixel_outlines(mask: np.ndarray) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """The rings of a mask: for each region, pixels that touch at a side, (P, 2) float64 corners and those of its holes.

    Corners are whole numbers, pixel (r, c) covers x c..c+1 and y r..r+1; the interior lies to the right of the way.

    Args:
        mask: (H, W) bool, true inside of the regions.

    >>> [(ring.tolist(), holes) for ring, holes in pixel_outlines(np.array([[False, True, True]]))]
    [([[1.0, 0.0], [3.0, 0.0], [3.0, 1.0], [1.0, 1.0]], [])]
    """
    inside = np.pad(mask.astype(bool), 1)
    _, regions = cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)
    onward = _edges(inside)
    outer: dict[int, np.ndarray] = {}
    holes: dict[int, list[np.ndarray]] = defaultdict(list)
    for start in list(onward):
        if start not in onward:
            continue
        corners, area = _ring(onward, start)
        region = int(regions[_pixel_right_of(*start)])
        points = np.array(corners, np.float64) - 1
        if area > 0:
            outer[region] = points
        else:
            holes[region].append(points)
    return [(points, holes[region]) for region, points in sorted(outer.items())]


_Edge = tuple[int, int, int]
"""x and y of its beginning, and its direction."""


def _edges(inside: np.ndarray) -> dict[_Edge, None]:
    """Every side of a pixel that lies between inside and outside, in the order of rows."""
    found: dict[_Edge, None] = {}
    neighbours = ((-1, 0, 0, 0, 0), (0, 1, 1, 1, 0), (1, 0, 2, 1, 1), (0, -1, 3, 0, 1))
    for down, right, direction, x, y in neighbours:
        rows, columns = np.nonzero(inside & ~np.roll(inside, (-down, -right), (0, 1)))
        found |= dict.fromkeys(
            (column + x, row + y, direction) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        )
    return found


def _ring(onward: dict[_Edge, None], start: _Edge) -> tuple[list[tuple[int, int]], int]:
    """The corners of the ring that an edge belongs to, and twice its area, negative for a hole; its edges are taken."""
    x, y, direction = start
    corners: list[tuple[int, int]] = []
    area = 0
    while (x, y, direction) in onward:
        del onward[x, y, direction]
        dx, dy = _STEPS[direction]
        area += x * dy - y * dx
        x, y = x + dx, y + dy
        # At a corner where two regions touch, the turn to the right stays with this one.
        for turn in ((direction + 1) % 4, direction, (direction + 3) % 4):
            if (x, y, turn) in onward or (x, y, turn) == start:
                if turn != direction:
                    corners.append((x, y))
                direction = turn
                break
    return corners[-1:] + corners[:-1], area


def _pixel_right_of(x: int, y: int, direction: int) -> tuple[int, int]:
    """Row and column of the pixel to the right of an edge, looking along it."""
    return ((y, x), (y, x - 1), (y - 1, x - 1), (y - 1, x))[direction]


def mask_objects(mask: np.ndarray, label: str) -> list[Outline]:
    """Each region of a mask as an object. mask: (H, W) bool. label: name of its class."""
    return [Outline(label, (points,), tuple(holes)) for points, holes in pixel_outlines(mask)]


def label_map_objects(label_map: np.ndarray, names: Sequence[str], ignored: str, left: int | None) -> list[Outline]:
    """Each region of each class of a label map as an object, in the order of the classes.

    Args:
        label_map: (H, W) uint8 class ids, 255 where nothing counts.
        names: names of the classes 0..K-1.
        ignored: name of what does not count.
        left: class that is not outlined, the background; None outlines all.
    """
    found: list[Outline] = []
    for value in np.unique(label_map).tolist():
        if value != left:
            name = names[value] if value < len(names) else ignored
            found += mask_objects(label_map == value, name)
    return found


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
