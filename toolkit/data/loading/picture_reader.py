"""Samples read for a pipeline: a JPEG is decoded only when its size is known to be wanted, and what a cache keeps not again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from toolkit.contracts import Dataset
from toolkit.data.images.bands import ValueRange
from toolkit.data.images.read import (
    Source,
    decode_color_map,
    decode_halved,
    decode_image,
    decode_label_map,
    file_bytes,
    halvable_size,
    reading_from,
)
from toolkit.samples import Sample

LABELS, COLORS = "labels", "colors"
"""Kinds of pixels in a `Shelf`, beside those of `image_kind`."""

Halvings = Callable[[tuple[int, int]], int]
"""Times that a decoder may halve a picture of (height, width) pixels."""


class Shelf(Protocol):
    """Decoded files that are kept."""

    def pixels(self, path: Path, kind: str, halvings: int, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """Pixels of a file: read-only ones that are kept, or what `decode` makes of it, kept from then on.

        Args:
            path: the file that they are of.
            kind: how it is read ("image 3", "labels"): a file that is read in two ways is kept twice.
            halvings: times that the decoder halves it.
            decode: reads the file and makes its pixels.
        """

    def halvable(self, path: Path, kind: str) -> tuple[int, int] | None:
        """(height, width) of a file known to be a JPEG that a decoder can halve; None where nothing is known of it."""


class NothingKept:
    """A shelf with nothing on it."""

    def pixels(self, _path: Path, _kind: str, _halvings: int, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """What `decode` makes."""
        return decode()

    def halvable(self, _path: Path, _kind: str) -> tuple[int, int] | None:
        """None."""
        return None


def image_kind(channels: int, value_range: ValueRange | None) -> str:
    """The kind of pixels of an image that is read so."""
    return f"image {channels}" + (f" {value_range}" if value_range is not None else "")


class ShelfReader(Source):
    """Pixels from a shelf; of the first JPEG that a decoder can halve a stand-in, if wanted: its size, and no pixels yet.

    Args:
        shelf: keeps what was decoded before, or nothing.
        waits: whether a stand-in is given for the first JPEG.
    """

    def __init__(self, shelf: Shelf, *, waits: bool) -> None:
        self.shelf, self.waits = shelf, waits
        self.stand_in: np.ndarray | None = None
        self.decoded: Callable[[int], np.ndarray] | None = None
        """The pixels that `stand_in` stands for, halved so many times; None without one."""

    def image(self, path: Path, channels: int, value_range: ValueRange | None) -> np.ndarray:
        """See `Source`.

        Args:
            path: the image's file, from which it is read.
            channels: number of channels or bands that are wanted.
            value_range: the stored numbers that become 0 and 255; None: files are of 8 bits.
        """
        kind, data = image_kind(channels, value_range), None
        if self.waits and self.stand_in is None:
            size = self.shelf.halvable(path, kind)
            if size is None:
                data = file_bytes(path)
                size = halvable_size(path, data, channels, value_range)
            if size is not None:
                self.stand_in = np.broadcast_to(np.uint8(0), (*size, channels))
                self.decoded = partial(self._late, path, kind, data, channels)
                return self.stand_in
        known = data
        return self._own(path, kind, lambda: decode_image(path, known or file_bytes(path), channels, value_range))

    def _late(self, path: Path, kind: str, data: bytes | None, channels: int, halvings: int) -> np.ndarray:
        return self.shelf.pixels(
            path, kind, halvings, lambda: decode_halved(path, data or file_bytes(path), channels, halvings)
        )

    def labels(self, path: Path) -> np.ndarray:
        """See `Source`."""
        return self._own(path, LABELS, lambda: decode_label_map(path, file_bytes(path)))

    def colors(self, path: Path) -> np.ndarray:
        """See `Source`."""
        return self._own(path, COLORS, lambda: decode_color_map(path, file_bytes(path)))

    def _own(self, path: Path, kind: str, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """An array that may be written to: data sets and transforms of others may."""
        pixels = self.shelf.pixels(path, kind, 0, decode)
        return pixels if pixels.flags.writeable else pixels.copy()


def read_sample(dataset: Dataset, index: int, shelf: Shelf, halvings: Halvings | None = None) -> Sample:
    """A sample of a data set, its pixels from a shelf, its image halved by the decoder where that can be.

    A data set that hands images on without a look at them reads a stand-in, in whose place the pixels are put when the
    sample, and so the size of its picture, is known. Raises as the data set does.

    Args:
        dataset: the data set that the sample is of.
        index: place of the sample in it.
        shelf: keeps what was decoded before, or nothing.
        halvings: says how often a picture may be halved; None: never.
    """
    waits = halvings is not None and dataset.hands_images_on()
    reader = ShelfReader(shelf, waits=waits)
    with reading_from(reader):
        sample = dataset[index]
    if reader.decoded is None or halvings is None:
        return sample
    if sample.image is not reader.stand_in:  # another image was made of it after all
        return read_sample(dataset, index, shelf)
    times = halvings((sample.image.shape[0], sample.image.shape[1]))
    return sample._replace(image=reader.decoded(times), halvings=times)
