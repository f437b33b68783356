"""Samples read for a pipeline: a JPEG is decoded only when its size is known to be wanted, and what a cache keeps not again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from toolkit.contracts import Dataset
from toolkit.data.images.bands import ValueRange
from toolkit.data.images.label_maps import decode_color_map, decode_label_map
from toolkit.data.images.read import decode_halved, decode_image, halvable_size
from toolkit.data.images.sources import Source, reading_from
from toolkit.data.images.whole_files import file_bytes
from toolkit.samples import Sample

LABELS, COLORS = "labels", "colors"
"""Kinds of pixels in a `Shelf`, beside those of `image_kind`."""

Halvings = Callable[[tuple[int, int]], int]
"""Times that a decoder may halve a picture of (height, width) pixels."""


class Shelf(Protocol):
    """Decoded files that are kept."""

    def pixels(
        self,
        path: Path,
        kind: str,
        decode: Callable[[], np.ndarray],
        halvings: int = 0,
        size: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Pixels of a file: read-only ones that are kept, or what `decode` makes of it, kept from then on.

        Args:
            path: the file that they are of.
            kind: how it is read ("image 3", "labels"): a file that is read in two ways is kept twice.
            decode: reads the file and makes its pixels.
            halvings: times that the decoder halves it.
            size: (height, width) of a JPEG that can be decoded halved; None for all other files.
        """

    def halvable(self, path: Path, kind: str) -> tuple[int, int] | None:
        """The `size` that the file was kept with; None where nothing is kept of it."""


class NothingKept:
    """A shelf with nothing on it."""

    def pixels(
        self,
        _path: Path,
        _kind: str,
        decode: Callable[[], np.ndarray],
        _halvings: int = 0,
        _size: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """What `decode` makes."""
        return decode()

    def halvable(self, _path: Path, _kind: str) -> tuple[int, int] | None:
        """None."""
        return None


def image_kind(channels: int, value_range: ValueRange | None) -> str:
    """The kind of pixels of an image that is read so."""
    return f"image {channels}" + (f" {value_range}" if value_range is not None else "")


class _Late(NamedTuple):
    """A JPEG that is still to be decoded; data: its bytes, None where they were not read."""

    path: Path
    kind: str
    data: bytes | None
    size: tuple[int, int]
    channels: int


class ShelfReader(Source):
    """Pixels from a shelf; of the first JPEG that a decoder can halve a stand-in, if wanted: its size, and no pixels yet.

    Args:
        shelf: keeps what was decoded before, or nothing.
        waits: whether a stand-in is given for the first JPEG.
    """

    def __init__(self, shelf: Shelf, *, waits: bool) -> None:
        self.shelf, self.waits = shelf, waits
        self.stand_in: np.ndarray | None = None
        self._late: _Late | None = None

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
                self._late = _Late(path, kind, data, size, channels)
                return self.stand_in
        known = data
        return self._own(path, kind, lambda: decode_image(path, known or file_bytes(path), channels, value_range))

    def decoded(self, halvings: int) -> np.ndarray:
        """The pixels that `stand_in` stands for, halved so many times."""
        assert self._late is not None  # there is a stand-in
        path, kind, data, size, channels = self._late

        def decode() -> np.ndarray:
            return decode_halved(path, data or file_bytes(path), channels, halvings)

        return self.shelf.pixels(path, kind, decode, halvings, size)

    def labels(self, path: Path) -> np.ndarray:
        """See `Source`."""
        return self._own(path, LABELS, lambda: decode_label_map(path, file_bytes(path)))

    def colors(self, path: Path) -> np.ndarray:
        """See `Source`."""
        return self._own(path, COLORS, lambda: decode_color_map(path, file_bytes(path)))

    def _own(self, path: Path, kind: str, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """An array that may be written to: data sets and transforms of others may."""
        pixels = self.shelf.pixels(path, kind, decode)
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
    if reader.stand_in is None or halvings is None:
        return sample
    if sample.image is not reader.stand_in:  # another image was made of it after all
        return read_sample(dataset, index, shelf)
    times = halvings((sample.image.shape[0], sample.image.shape[1]))
    return sample._replace(image=reader.decoded(times), halvings=times)
