"""Which images of an evaluation are worth a look: the worst, the middle, the best, and each class's worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

EACH = 12
"""Images of each part, at most."""


class Chosen(NamedTuple):
    """An image that is shown: its number in the record, and why."""

    place: int
    part: str


def choose(scores: Sequence[float | None], errors: np.ndarray | None = None, each: int = EACH) -> list[Chosen]:
    """The images to show, worst first; none twice. Images without a score are in no part.

    Args:
        scores: one for each image, larger is better; None where undefined.
        errors: (N, K) how much of each class is wrong in each image; the one with most of each class is shown too.
        each: number of images of a part, at most.

    >>> choose([0.5, 0.1, None, 0.9], each=1)
    [Chosen(place=1, part='worst'), Chosen(place=0, part='median'), Chosen(place=3, part='best')]
    """
    known = [(score, place) for place, score in enumerate(scores) if score is not None]
    order = [place for _, place in sorted(known)]
    count = len(order)
    each = min(each, -(-count // 3))
    middle = (count - each) // 2
    parts = {
        "worst": order[:each],
        "median": order[max(each, middle) : max(each, middle) + each],
        "best": order[-each:],
    }
    outer = {*parts["worst"], *parts["best"]}
    parts["median"] = [place for place in parts["median"] if place not in outer]
    found: dict[int, str] = {}
    for part, places in parts.items():
        for place in places:
            found.setdefault(place, part)
    if errors is not None and len(errors):
        for label in range(errors.shape[1]):
            place = int(errors[:, label].argmax())
            if errors[place, label] > 0:
                found.setdefault(place, "worst of a class")
    return [Chosen(place, part) for place, part in found.items()]


def choose_changed(differences: Sequence[float | None], each: int = 2 * EACH) -> list[Chosen]:
    """The images that changed most, first those that became worse, then those that became better.

    Args:
        differences: of each image's score, after minus before; None where one is undefined.
        each: number of images of each part, at most.

    >>> choose_changed([0.0, -0.2, None, 0.1], each=1)
    [Chosen(place=1, part='worse'), Chosen(place=3, part='better')]
    """
    known = sorted((change, place) for place, change in enumerate(differences) if change is not None and change != 0)
    worse = [Chosen(place, "worse") for change, place in known if change < 0][:each]
    better = [Chosen(place, "better") for change, place in reversed(known) if change > 0][:each]
    return worse + better
