"""What every output format of `predict` shares: where files go, that they appear whole, and the base class."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from toolkit.drawing import full_palette
from toolkit.files import replacing
from toolkit.labels import Color
from toolkit.samples import Prediction


class Writer(ABC):
    """One output format of a run: `add` for every image, then `finish`.

    suffix: what follows the input's stem in the name of a file. takes: kinds of predictions. by_default: whether it is
    written when no format is asked for.

    Args:
        folder: folder that files go to; sub-folders as in the inputs.
        classes: names of the labels 0..K-1.
        palette: (r, g, b) of each class, or () for default colours.
    """

    suffix: ClassVar[str]
    takes: ClassVar[tuple[type, ...]]
    by_default: ClassVar[bool] = False

    def __init__(self, folder: Path, classes: Sequence[str], palette: Sequence[Color] = ()) -> None:
        self.folder = Path(folder)
        self.classes = tuple(classes)
        self.colors = full_palette(palette, len(classes))

    @abstractmethod
    def add(self, stem: str, image: np.ndarray, prediction: Prediction) -> list[Path]:
        """Writes, or keeps, one image's prediction; returns the files written.

        Args:
            stem: output path below the folder without suffix (`output_stems`).
            image: (H, W, C) uint8 as it was read, in the prediction's pixels.
            prediction: what the model answered, of a kind in `takes`.
        """

    def finish(self) -> list[Path]:
        """Writes what was kept (formats with one file for all images); returns the files written."""
        return []

    def color_of(self, label: int) -> Color:
        """The colour (r, g, b) of a class, 0..255, from the palette or the default one."""
        red, green, blue = self.colors[label].tolist()
        return red, green, blue

    def name_of(self, label: int) -> str:
        """Name of a class; the number of a label that is none."""
        return self.classes[label] if label < len(self.classes) else str(label)

    def path_of(self, stem: str) -> Path:
        """The file of a stem in this format."""
        return self.folder / f"{stem}{self.suffix}"


def output_stems(names: Sequence[str]) -> list[str]:
    """Output paths, without suffix, of input paths: sub-folder and stem stay, and no two are the same.

    Inputs that differ in their extension only, or in upper and lower case, keep it in the stem. Raises ValueError for
    an absolute path and one that leaves its folder.

    >>> output_stems(["day/a.jpg", "day/b.png", "night/a.jpg", "b.c.jpg"])
    ['day/a', 'day/b', 'night/a', 'b.c']
    >>> output_stems(["a.jpg", "a.png", "b.jpg"])
    ['a_jpg', 'a_png', 'b']
    """
    paths = [PurePosixPath(name.replace(os.sep, "/")) for name in names]
    for path in paths:
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise ValueError(f"not a path below a folder: '{path}'")
    stems = [str(path.with_suffix("")) for path in paths]
    often = Counter(stem.casefold() for stem in stems)
    taken = {folded for folded, count in often.items() if count == 1}
    result = []
    for path, stem in zip(paths, stems, strict=True):
        if often[stem.casefold()] > 1:
            stem = _free(f"{stem}_{path.suffix[1:]}" if path.suffix else stem, taken)
            taken.add(stem.casefold())
        result.append(stem)
    return result


def _free(stem: str, taken: set[str]) -> str:
    """The stem, with the first number that makes it new."""
    number, candidate = 2, stem
    while candidate.casefold() in taken:
        candidate, number = f"{stem}_{number}", number + 1
    return candidate


def write_whole(path: Path, data: bytes) -> Path:
    """Writes a file so that it is there complete or not at all; folders are made. Raises UserError when it cannot be."""
    with replacing(path, durable=False) as part:
        part.write_bytes(data)
    return path
