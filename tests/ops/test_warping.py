"""Warping error against a plain reading of its definition, and its laws."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from toolkit.ops.warping import warping_mismatches

SIDES, CORNERS = ndimage.generate_binary_structure(2, 1), ndimage.generate_binary_structure(2, 2)


def is_simple(around: np.ndarray) -> bool:
    """Whether the middle of 3x3 pixels may be flipped."""
    around = around.copy()
    around[1, 1] = False
    inside, _ = ndimage.label(around, SIDES)
    touching = {inside[place] for place in ((0, 1), (1, 0), (1, 2), (2, 1))} - {0}
    outside = ~around
    outside[1, 1] = False
    return len(touching) == 1 and ndimage.label(outside, CORNERS)[1] == 1


def plainly(truth: np.ndarray, prediction: np.ndarray, certainty: np.ndarray) -> int:
    """Every differing pixel, the most certain first and column by column, again and again until nothing changes."""
    source = np.pad(truth, 1)
    while True:
        differ = np.argwhere((source[1:-1, 1:-1] != prediction).T)[:, ::-1]
        order = np.argsort(-certainty[tuple(differ.T)], kind="stable")
        flipped = 0
        for y, x in differ[order]:
            if is_simple(source[y : y + 3, x : x + 3]):
                source[y + 1, x + 1] ^= True
                flipped += 1
        if not flipped:
            return len(differ)


def test_equals_a_plain_reading() -> None:
    random = np.random.default_rng(0)
    for number in range(120):
        shape = tuple(random.integers(1, 16, 2))
        smooth = ndimage.gaussian_filter(random.normal(size=(2, *shape)), (0, 1, 1))
        truth, prediction = smooth > np.quantile(smooth, random.random())
        equal = number % 3 == 0
        certainty = np.ones(shape) if equal else random.choice([0.1, 0.2, 0.9], shape)
        found = warping_mismatches(truth, prediction, None if equal else certainty)
        assert found == plainly(truth, prediction, certainty)


def rooms() -> np.ndarray:
    """Two cells with a wall of three pixels between them."""
    cells = np.zeros((20, 33), bool)
    cells[2:18, 2:15], cells[2:18, 18:31] = True, True
    return cells


def test_a_border_that_lies_elsewhere_is_no_error() -> None:
    moved = np.zeros((20, 33), bool)
    moved[4:18, 3:18], moved[3:16, 20:32] = True, True
    assert (rooms() != moved).sum() > 50
    assert warping_mismatches(rooms(), moved) == 0


def test_each_kind_of_mistake() -> None:
    true = rooms()
    assert warping_mismatches(true, true) == 0
    gap = true.copy()
    gap[9, 15:18] = True  # a merger: the wall is one pixel thick when it can no longer be bent
    assert warping_mismatches(true, gap) == 1
    hole = true.copy()
    hole[8:11, 7:10] = False
    assert warping_mismatches(true, hole) == 9
    lost = true.copy()
    lost[:, 16:] = False  # a cell is missing: it shrinks to one pixel, which stays
    assert warping_mismatches(true, lost) == 1
    extra = np.pad(true, ((0, 6), (0, 0)))
    new = extra.copy()
    new[21:24, 4:7] = True
    assert warping_mismatches(extra, new) == 9
