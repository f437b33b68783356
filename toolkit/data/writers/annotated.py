"""What every writer of annotations gets and gives: one annotated image, and what a file could not hold of it."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from toolkit.data.formats.outlines import Outline, Size

IGNORED = "__ignore__"
"""Label of regions that do not count, as LabelMe calls them; our readers leave such regions out of every number."""


class Annotated(NamedTuple):
    """One image and its annotation: objects, or the class of every pixel.

    Args:
        picture: path of its file in the written set, relative to the folder of the images, with `/`.
        size: (height, width) of the picture in pixels.
        objects: the objects by class name, in drawing order.
        difficult: a flag an object (VOC's), or () for none.
        scores: a probability 0..1 an object, for predictions, or ().
        label_map: (H, W) uint8 class ids, 255 where nothing counts; None for data of objects.
        image_id: the number that the source calls it by, -1 for none.
    """

    picture: str
    size: Size
    objects: tuple[Outline, ...] = ()
    difficult: tuple[bool, ...] = ()
    scores: tuple[float, ...] = ()
    label_map: np.ndarray | None = None
    image_id: int = -1

    @property
    def stem(self) -> str:
        """`picture` without its extension."""
        return self.picture.rpartition(".")[0] or self.picture

    def is_difficult(self, place: int) -> bool:
        """The flag of the object at a place."""
        return bool(self.difficult) and self.difficult[place]


class Loss(NamedTuple):
    """What a written file does not hold of its source.

    Args:
        file: the written file, relative to the folder of the set.
        what: in words, with how many.
    """

    file: str
    what: str


class Losses:
    """Counts what one file loses, and words it."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._most: dict[str, float] = {}

    def add(self, what: str, count: int = 1, most: float = 0.0) -> None:
        """One more of a kind.

        Args:
            what: the kind, in words that follow a number ("holes filled").
            count: how many of them there are.
            most: by how many pixels, where that says something.
        """
        if count:
            self._counts[what] += count
            self._most[what] = max(self._most.get(what, 0.0), most)

    def of(self, file: str) -> list[Loss]:
        """Everything that a file loses, a sentence a kind."""
        words = []
        for what, count in self._counts.items():
            most = self._most[what]
            words.append(f"{count} {what}" + (f", by {most:.3g} pixels at most" if most else ""))
        return [Loss(file, one) for one in words]
