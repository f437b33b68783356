"""One picture to predict on: a file, or pixels in memory, and what a model reads of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.data.images.bands import ValueRange, refuse_bands, with_channels
from toolkit.data.images.pages import read_first, read_page
from toolkit.data.images.videos import Frame
from toolkit.samples import Sample


class Picture(NamedTuple):
    """One picture to predict on.

    Args:
        path: of the file; None for a picture in memory.
        name: its place below the folder that was named, with `/`; `picture_3` for the fourth in memory.
        pixels: (H, W, 1 or 3) uint8 of a picture in memory, None for a file.
        page: place among the frames of its file (`page_places`), where every page is a picture; None: the first, or only one.
        frame: of the video at `path`, where the picture is one.
    """

    path: Path | None
    name: str
    pixels: np.ndarray | None = None
    page: int | None = None
    frame: Frame | None = None

    def read(self, channels: int, value_range: ValueRange | None = None) -> np.ndarray:
        """(H, W, channels) uint8, RGB or gray. Raises DataError for a file that cannot be read.

        channels: of the result. value_range: the numbers in a file that become 0 and 255; None: it is of 8 bits.
        """
        return self.read_and_count(channels, value_range)[0]

    def read_and_count(self, channels: int, value_range: ValueRange | None = None) -> tuple[np.ndarray, int]:
        """What `read` gives, and how many pages of the file are left.

        channels: of the result. value_range: the numbers in a file that become 0 and 255; None: it is of 8 bits.
        """
        pixels = self.pixels if self.frame is None else self.frame.read()
        if pixels is not None:
            return self._own(pixels, channels), 0
        path = self.path or Path(self.name)
        if self.page is not None:
            return read_page(path, self.page, channels, value_range), 0
        return read_first(path, channels, value_range)

    def _own(self, pixels: np.ndarray, channels: int) -> np.ndarray:
        if channels not in (1, 3):
            refuse_bands(pixels.shape[2], channels, Path(self.name))
        return with_channels(pixels, channels)


def sample_of(picture: Picture, image: np.ndarray, position: int) -> Sample:
    """The picture as a sample without annotation.

    Args:
        picture: a file, or pixels in memory, as `find_pictures` gives it.
        image: (H, W, C) uint8 that `picture.read` gave.
        position: its number among the pictures, from 0 on.
    """
    return Sample(image, picture.name, position, (image.shape[0], image.shape[1]))
