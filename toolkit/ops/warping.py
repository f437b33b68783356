"""Warping error: pixels that are wrong in a way that changes how regions hang together, and not only where borders lie.

Jain et al. 2010, "Boundary learning by optimization with topological constraints", doi:10.1109/CVPR.2010.5539950;
official code: Fiji's Trainable Segmentation, `WarpingError.java` (`simplePointWarp2d`), without a mask. The truth is bent
towards the prediction, pixel by pixel, as long as no pixel that is flipped merges, splits, makes or removes a region
or a hole; the pixels in which the two then differ are counted.
"""

from __future__ import annotations

import functools

import numpy as np


def warping_mismatches(truth: np.ndarray, prediction: np.ndarray, certainty: np.ndarray | None = None) -> int:
    """Pixels in which the truth, bent without a change of its topology, still differs from the prediction.

    Differing pixels are looked at again and again, the most certain first (of equal ones the leftmost, then the topmost),
    until none can be flipped. Regions hang together across sides, the background also across corners; beyond the
    image is background.

    Args:
        truth: (H, W) bool, the true regions.
        prediction: (H, W) bool, the predicted regions.
        certainty: (H, W) how far the prediction is from its threshold; None where all are equally certain.

    >>> cell = np.zeros((5, 9), bool)
    >>> cell[1:4, 1:8] = True
    >>> thin, cut = cell.copy(), cell.copy()
    >>> thin[1], cut[:, 4] = False, False  # a border that lies elsewhere; a cell that is split in two
    >>> warping_mismatches(cell, thin), warping_mismatches(cell, cut)
    (0, 1)
    """
    step = truth.shape[1] + 2
    source = bytearray(np.pad(truth, 1).astype(np.uint8).tobytes())
    columns, rows = np.nonzero((truth != prediction).T)
    if certainty is not None:
        order = np.argsort(-certainty[rows, columns], kind="stable")
        rows, columns = rows[order], columns[order]
    waiting = ((rows + 1) * step + columns + 1).tolist()
    changed = bytearray(b"\1") * len(source)  # whether a pixel's neighbours have changed since it was looked at
    around = (-step - 1, -step, -step + 1, -1, 1, step - 1, step, step + 1)
    simple = _simple_points()
    before = -1
    while len(waiting) != before:
        before, left = len(waiting), []
        for place in waiting:
            if changed[place]:
                changed[place] = 0
                code = 0
                for offset in around:
                    code = code * 2 + source[place + offset]
                if simple[code]:
                    source[place] ^= 1
                    for offset in around:
                        changed[place + offset] = 1
                    continue
            left.append(place)
        waiting = left
    return len(waiting)


@functools.cache
def _simple_points() -> tuple[bool, ...]:
    """Whether a pixel may be flipped, by its eight neighbours as bits, row by row, the first the highest.

    So it is when its neighbours hold one region that touches a side of it, and one background that touches it (Bertrand
    and Malandain 1994, "A new characterization of three-dimensional simple points", T4 = T8 = 1).
    """
    places = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    table = []
    for code in range(256):
        inside = {place for bit, place in enumerate(places) if code >> (7 - bit) & 1}
        outside = set(places) - inside
        touching = [group for group in _groups(inside, corners=False) if any(1 in place for place in group)]
        table.append(len(touching) == 1 and len(_groups(outside, corners=True)) == 1)
    return tuple(table)


def _groups(places: set[tuple[int, int]], corners: bool) -> list[set[tuple[int, int]]]:
    """The places in groups that hang together, across sides or also across corners."""
    groups: list[set[tuple[int, int]]] = []
    for y, x in places:
        near = [(a, b) for a in (y - 1, y, y + 1) for b in (x - 1, x, x + 1) if corners or a == y or b == x]
        joined = [group for group in groups if group.intersection(near)]
        groups = [group for group in groups if group not in joined] + [{(y, x)}.union(*joined)]
    return groups
