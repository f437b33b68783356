"""What the labels 0..K-1 mean: their names and colours; and the label of pixels that do not count."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

Color = tuple[int, int, int]

IGNORE_INDEX = 255
"""Label of a pixel that counts neither in a loss nor in a metric. Label maps are uint8, so 255 classes fit."""


_BACKGROUND = re.compile(
    r"back ?ground|bg|void|un ?label+ed|un ?annotated|un ?known|ignored?|nothing|none", re.IGNORECASE
)


class ClassTable(NamedTuple):
    """What the labels 0..K-1 are called, and how they are shown.

    Args:
        names: one for each label, in their order, no two the same.
        palette: a colour (r, g, b), each 0..255, for each label; () for default colours.
        ids: the number of each label in the data's own files (COCO's category ids); () where they have none.
    """

    names: tuple[str, ...]
    palette: tuple[Color, ...]
    ids: tuple[int, ...] = ()

    def name_of(self, label: int) -> str:
        """Name of a class; the number of a label that is none."""
        return self.names[label] if 0 <= label < len(self.names) else str(label)

    def id_of(self, label: int) -> int:
        """Id of a class in the data's own files; where they have none, classes count from 1 (COCO's smallest id)."""
        return self.ids[label] if self.ids else label + 1


NO_CLASSES = ClassTable((), ())
"""Of labels that nobody named."""


def is_background(name: str) -> bool:
    """Whether a class is what lies behind the others, by its name: pictures leave such pixels unpainted.

    >>> [is_background(name) for name in ("background", "Void", "_background_", "unlabelled", "Road")]
    [True, True, True, True, False]
    """
    return _BACKGROUND.fullmatch(re.sub(r"[\s_-]+", " ", name).strip()) is not None


def background_labels(names: Sequence[str]) -> tuple[int, ...]:
    """The labels of classes that lie behind the others, see `is_background`."""
    return tuple(label for label, name in enumerate(names) if is_background(name))


def default_palette(count: int) -> tuple[Color, ...]:
    """The VOC development kit's colours 0..count-1: the bits of the id, dealt to r, g and b from the top bit down.

    Distinct for ids 0..255; label 0 is black.

    >>> default_palette(4)
    ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    """
    colors = []
    for label in range(count):
        red = green = blue = 0
        for bit in range(8):
            triple = label >> (3 * bit)
            red |= (triple & 1) << (7 - bit)
            green |= (triple >> 1 & 1) << (7 - bit)
            blue |= (triple >> 2 & 1) << (7 - bit)
        colors.append((red, green, blue))
    return tuple(colors)
