"""Synthetic sequences, drawn as pictures: every row is one, read from left to right, and a step is a pixel.

Each asks something of a net that only the past can answer; one that sees too little of it is right as often as chance.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from toolkit.labels import IGNORE_INDEX

GLIDES = {"rising": (0, 1, 2), "falling": (2, 1, 0), "turning": (1, 0, 2)}
"""The order in which the three bands of a glide light up."""

_STAY = 2
"""Steps that a glide stays in each band."""

_LEVELS = np.array([80.0, 176.0])
"""Gray of a bit that is 0 and of one that is 1."""

_NOISE = 12.0
"""Standard deviation of what is added to every value."""


class Sequences(NamedTuple):
    """Sequences of one sample.

    Args:
        image: (rows, steps, C) uint8 picture, whose every row is a sequence.
        label_map: (rows, steps) uint8 class of each step, `IGNORE_INDEX` where the answer lies before the first step;
            None where there is one class for all.
        label: class of the whole sample; None where each step has one.
    """

    image: np.ndarray
    label_map: np.ndarray | None
    label: int | None


def parity(rng: np.random.Generator, rows: int, steps: int, delay: int) -> Sequences:
    """Random bits; the class of a step is its bit xor the bit of `delay` steps before: 0 for equal ones, 1 for others.

    Neither bit alone says anything, so a net has to see both.

    Args:
        rng: source of every random choice.
        rows: number of sequences, one below the other.
        steps: length of every sequence in pixels.
        delay: steps to the earlier bit, 1 or more.

    >>> made = parity(np.random.default_rng(0), rows=1, steps=4, delay=2)
    >>> made.image.shape, made.label_map.tolist()
    ((1, 4, 1), [[255, 255, 0, 1]])
    """
    bits = rng.integers(0, 2, (rows, steps))
    labels = np.full((rows, steps), IGNORE_INDEX, np.uint8)
    labels[:, delay:] = bits[:, delay:] ^ bits[:, :-delay]
    return Sequences(_noisy(rng, _LEVELS[bits])[:, :, None], labels, None)


def automaton(rng: np.random.Generator, rows: int, steps: int) -> Sequences:
    """A row of random bits, and below it what Wolfram's rule 30 makes of the row above; the class of a pixel is its bit.

    What was read before a pixel, three pixels of the row above, decides it, except in the first row. Beyond the edges
    all bits are 0. (Wolfram 1983, "Statistical mechanics of cellular automata": new = left xor (centre or right).)

    Args:
        rng: source of every random choice.
        rows: number of rows, the random one included.
        steps: length of every row in pixels.

    >>> made = automaton(np.random.default_rng(3), rows=3, steps=5)
    >>> made.label_map.tolist()
    [[255, 255, 255, 255, 255], [1, 1, 0, 0, 0], [1, 0, 1, 0, 0]]
    """
    bits = np.zeros((rows, steps + 2), np.int64)
    bits[0, 1:-1] = rng.integers(0, 2, steps)
    for above, row in pairwise(bits):
        row[1:-1] = above[:-2] ^ (above[1:-1] | above[2:])
    labels = bits[:, 1:-1].astype(np.uint8)
    labels[0] = IGNORE_INDEX
    return Sequences(_noisy(rng, _LEVELS[bits[:, 1:-1]])[:, :, None], labels, None)


def glide(rng: np.random.Generator, steps: int) -> Sequences:
    """One row of three bands in which a tone glides at a random time; its class is the order of the bands (`GLIDES`).

    Single tones elsewhere see to it that how often a band sounds tells nothing.

    Args:
        rng: source of every random choice.
        steps: length of the sequence, at least 12.
    """
    bands = np.zeros((steps, 3))
    for band in range(3):
        start = int(rng.integers(0, steps - _STAY + 1))
        bands[start : start + _STAY, band] = 1
    label = int(rng.integers(len(GLIDES)))
    length = 3 * _STAY
    start = int(rng.integers(0, steps - length + 1))
    bands[max(0, start - _STAY) : start + length + _STAY] = 0
    for place, band in enumerate(list(GLIDES.values())[label]):
        bands[start + place * _STAY : start + (place + 1) * _STAY, band] = 1
    loud = rng.uniform(0.75, 1.0)
    return Sequences(_noisy(rng, 40 + 190 * loud * bands)[None], None, label)


def _noisy(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values + _NOISE * rng.standard_normal(values.shape)), 0, 255).astype(np.uint8)
