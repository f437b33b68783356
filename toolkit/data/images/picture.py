"""One picture to predict on: a file, or pixels in memory, and what a model reads of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.data.images.bands import ValueRange, refuse_bands
from toolkit.data.images.by_pillow import with_channels
from toolkit.data.images.read import read_image
from toolkit.samples import Sample


class Picture(NamedTuple):
    """One picture to predict on.

    Args:
        path: of the file; None for a picture in memory.
        name: its place below the folder that was named, with `/`; `picture_3` for the fourth in memory.
        pixels: (H, W, 1 or 3) uint8 of a picture in memory, None for a file.
    """

    path: Path | None
    name: str
    pixels: np.ndarray | None = None

    def read(self, channels: int, value_range: ValueRange | None = None) -> np.ndarray:
        """(H, W, channels) uint8, RGB or gray. Raises DataError for a file that cannot be read.

        channels: of the result. value_range: the numbers in a file that become 0 and 255; None: it is of 8 bits.
        """
        if self.pixels is None:
            return read_image(self.path or self.name, channels, value_range)
        if channels not in (1, 3):
            refuse_bands(self.pixels.shape[2], channels, Path(self.name))
        return with_channels(self.pixels, channels)


def sample_of(picture: Picture, position: int, channels: int, value_range: ValueRange | None = None) -> Sample:
    """The picture as a sample without annotation. Raises DataError for a file that cannot be read.

    Args:
        picture: a file, or pixels in memory, as `find_pictures` gives it.
        position: its number among the pictures, from 0 on.
        channels: of the image, 3 for RGB or 1 for gray; the other kind is converted.
        value_range: the numbers in a file that become 0 and 255; None: it is of 8 bits.
    """
    image = picture.read(channels, value_range)
    return Sample(image, picture.name, position, (image.shape[0], image.shape[1]))
