"""Blocks of neighbouring images of one clip or stack, by the numbers in their names: what can be drawn within it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

FRAMES_PER_SECOND = 30
"""What numbers of video frames are assumed to count: CamVid's names count the frames of its 30 Hz video."""
_FOLDS = 8
_FEWEST_BLOCKS = 4


class Blocks(NamedTuple):
    """Neighbouring images, block by block.

    Args:
        numbers: (N,) int64 number of each image's block, 0..B-1.
        said: what a block is, and what an interval from drawing blocks means.
    """

    numbers: np.ndarray
    said: str


def neighbours(images: Sequence[str], groups: Sequence[str], rate: float = FRAMES_PER_SECOND) -> Blocks | None:
    """Blocks within groups: seconds of a video, or folds of neighbouring sections; None with fewer than four blocks.

    Images are of one series when they are of one group and their names differ in the last number alone. When the
    numbers of all series last four seconds or more, a block is a second; otherwise a series is cut into up to eight
    folds of neighbours.

    Args:
        images: N names, numbers in them counted by value.
        groups: N names, of the group that each image is in.
        rate: how many numbers a second of video takes.

    >>> neighbours([f"clip_{number:03}.png" for number in range(0, 150, 10)], ["clip"] * 15).numbers.tolist()
    [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    >>> neighbours(["05.png", "06.png", "12.png", "20.png", "27.png"], list("abcde")).said.split(":")[0]
    'within the series, by 5 folds of neighbouring images'
    """
    series: dict[str, list[tuple[int, int]]] = {}
    for place, (name, group) in enumerate(zip(images, groups, strict=True)):
        prefix, number = _last_number(name)
        series.setdefault(f"{prefix}\n{group if number is None else ''}", []).append((number or 0, place))
    for members in series.values():
        members.sort()
    seconds = [[int((number - members[0][0]) // rate) for number, _ in members] for members in series.values()]
    blocks = sum(len(set(found)) for found in seconds)
    if blocks >= _FEWEST_BLOCKS and any(len(set(found)) < len(found) for found in seconds):
        said = f"within the clip, by {blocks} blocks of one second (numbers of frames taken to count {rate:g} a second)"
        return Blocks(_numbered(series, seconds, len(images)), f"{said}: {_WITHIN}")
    folds = [_folds(len(members)) for members in series.values()]
    blocks = sum(len(set(found)) for found in folds)
    if blocks < _FEWEST_BLOCKS:
        return None
    said = f"within the series, by {blocks} folds of neighbouring images"
    return Blocks(_numbered(series, folds, len(images)), f"{said}: {_WITHIN}")


_WITHIN = "what other stretches of the same would give, not what others would"


def _last_number(name: str) -> tuple[str, int | None]:
    """A name without its last number, and that number."""
    stem = str(PurePosixPath(name).with_suffix(""))
    found = re.fullmatch(r"(.*?)(\d+)(\D*)", stem)
    return (f"{found[1]}#{found[3]}", int(found[2])) if found else (stem, None)


def _folds(members: int) -> list[int]:
    folds = min(members, _FOLDS)
    return [place * folds // members for place in range(members)]


def _numbered(series: dict[str, list[tuple[int, int]]], blocks: Sequence[Sequence[int]], images: int) -> np.ndarray:
    """Blocks of all series as numbers from 0 on, by image."""
    numbers = np.zeros(images, np.int64)
    known: dict[tuple[str, int], int] = {}
    for (name, members), found in zip(series.items(), blocks, strict=True):
        for (_, place), block in zip(members, found, strict=True):
            numbers[place] = known.setdefault((name, block), len(known))
    return numbers
