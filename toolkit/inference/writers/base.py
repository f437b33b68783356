"""What every output format of `predict` shares: where files go, that they appear whole, and the base class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from toolkit.drawing import full_palette
from toolkit.files import replacing
from toolkit.labels import ClassTable, Color
from toolkit.samples import Prediction


class Writer(ABC):
    """One output format of a run: `add` for every image, then `finish`.

    suffix: what follows the input's stem in the name of a file. takes: kinds of predictions. by_default: those of them
    that it is written for when no format is asked for. files: names of the files that hold all images.

    Args:
        folder: folder that files go to; sub-folders as in the inputs.
        classes: names of the labels 0..K-1.
        palette: (r, g, b) of each class, or () for default colours.
        ids: number of each class in the data's own files; () where they have none.
    """

    suffix: ClassVar[str]
    takes: ClassVar[tuple[type, ...]]
    by_default: ClassVar[tuple[type, ...]] = ()
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, folder: Path, classes: Sequence[str], palette: Sequence[Color] = (), ids: Sequence[int] = ()
    ) -> None:
        self.folder = Path(folder)
        self.classes = ClassTable(tuple(classes), tuple(palette), tuple(ids))
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

    def path_of(self, stem: str) -> Path:
        """The file of a stem in this format."""
        return self.folder / f"{stem}{self.suffix}"


def write_whole(path: Path, data: bytes) -> Path:
    """Writes a file so that it is there complete or not at all; folders are made. Raises UserError when it cannot be."""
    with replacing(path, durable=False) as part:
        part.write_bytes(data)
    return path
