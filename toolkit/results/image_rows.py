"""Arrays about many images: how they are joined, ordered and chosen from, whatever they hold.

One rule holds for all of them. Arrays of several images are joined along the first axis. An array `NAME_counts` (N,)
says how many rows of each other array named `NAME_...` belong to each image; an array without one has one row an image.
So `truth_boxes` of two images with `truth_counts` [2, 1] has three rows, two of the first image, one of the second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

COUNTS = "_counts"
"""How the name of an array ends that says how many rows of its fellows belong to each image."""


class ImageRow(NamedTuple):
    """One image of an evaluation.

    Args:
        name: the image's path relative to the data set's root, with `/`.
        image_id: the id the annotation file uses, or the place in the data set.
        size: (height, width) of the image in pixels, as stored on disk.
        arrays: what the evaluators counted for it, by name, each with the rows of this image alone.
    """

    name: str
    image_id: int
    size: tuple[int, int]
    arrays: Mapping[str, np.ndarray]


def in_order(rows: Iterable[ImageRow]) -> list[ImageRow]:
    """Rows sorted by name, numbers in names by value, then by id: the same for any batches and processes.

    >>> rows = [ImageRow(name, 0, (1, 1), {}) for name in ("frame10.png", "frame9.png")]
    >>> [row.name for row in in_order(rows)]
    ['frame9.png', 'frame10.png']
    """
    return sorted(rows, key=lambda row: (natural(row.name), row.name, row.image_id))


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts names as people do, 9 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def joined(rows: Sequence[ImageRow]) -> dict[str, np.ndarray]:
    """The arrays of all rows, each joined along its first axis. Raises ValueError when a row lacks one that others have."""
    names = list(rows[0].arrays) if rows else []
    for row in rows:
        if list(row.arrays) != names:
            raise ValueError(f"{row.name}: has the arrays {list(row.arrays)}, the first image {names}")
    return {name: np.concatenate([row.arrays[name] for row in rows]) for name in names}


def counts_of(name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """How many rows of an array belong to each image, (N,); None for an array with one row an image.

    >>> arrays = {"truth_counts": np.array([2, 1]), "truth_boxes": np.zeros((3, 4)), "image_ids": np.array([7, 9])}
    >>> counts_of("truth_boxes", arrays)
    array([2, 1])
    """
    if name.endswith(COUNTS):
        return None
    prefixes = [other.removesuffix(COUNTS) for other in arrays if other.endswith(COUNTS)]
    fitting = [prefix for prefix in prefixes if name.startswith(f"{prefix}_")]
    return arrays[max(fitting, key=len) + COUNTS] if fitting else None


def taken(arrays: Mapping[str, np.ndarray], places: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of some images, in the order of `places`; an image may come several times.

    Args:
        arrays: arrays of N images, by name, see above.
        places: numbers 0..N-1 of the images that are wanted.

    >>> arrays = {"box_counts": np.array([2, 0, 1]), "box_scores": np.array([0.9, 0.8, 0.7])}
    >>> {name: array.tolist() for name, array in taken(arrays, [2, 0]).items()}
    {'box_counts': [1, 2], 'box_scores': [0.7, 0.9, 0.8]}
    """
    wanted = np.asarray(places, np.int64).reshape(-1)
    chosen = {}
    for name, array in arrays.items():
        counts = counts_of(name, arrays)
        chosen[name] = array[wanted] if counts is None else array[_flat_places(counts, wanted)]
    return chosen


def _flat_places(counts: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places of the wanted images' rows in an array whose images have `counts` rows each."""
    starts = np.cumsum(counts) - counts
    lengths = counts[wanted]
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(starts[wanted], lengths) + within
