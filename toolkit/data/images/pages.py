"""Pages of TIFF files, and frames of animations: which there are, and reading one.

A page is a picture of its own. Smaller copies of a picture and masks of it, which a TIFF keeps as pages too (TIFF 6.0,
NewSubfileType), are none. Gray pages, as many as a model takes bands, are the bands of one picture.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image

from toolkit.data.images.bands import ValueRange, as_bytes, reads_bands, tifffile_for, with_channels
from toolkit.data.images.by_pillow import image_pixels, refuse_squeezed, unreadable
from toolkit.data.images.formats import FORMATS, file_format
from toolkit.data.images.heic import teach_pillow
from toolkit.data.images.limits import any_size, refuse_size
from toolkit.data.images.read import decode_image
from toolkit.data.images.tiff import tiff_pages
from toolkit.data.images.whole_files import file_bytes, file_stamp
from toolkit.errors import UserError

Pages = Literal["first", "all"]
"""What is read of a file of several pages."""

_PAGED = ("TIFF", "GIF", "WebP", "PNG", "HEIC", "AVIF")
PAGED_SUFFIXES = frozenset(suffix for kind in _PAGED for suffix in FORMATS[kind])
"""Extensions of files that can hold several pages."""
_HEAD = 4096
"""Bytes in which a PNG says that it is an animation."""


def page_places(file: BinaryIO, bands: int = 0) -> Sequence[int]:
    """Where the pages stand among the frames of a picture's file; of one page, or an unknown kind, (0,).

    Args:
        file: the file, open for reading.
        bands: so many gray pages are the bands of one picture; 0: each is a picture.
    """
    head = file.read(_HEAD)
    kind = file_format(head)
    if kind == "TIFF":
        return tiff_pages(file, bands)
    if kind not in _PAGED or (kind == "PNG" and b"acTL" not in head):
        return (0,)
    file.seek(0)
    try:
        if kind == "HEIC":
            teach_pillow(Path("file"))
        with any_size(), Image.open(file) as image:
            return range(int(getattr(image, "n_frames", 1)))
    except Exception:  # Pillow raises many kinds for a damaged file; reading it says what is wrong
        return (0,)


def places_of(path: Path, bands: int = 0) -> Sequence[int]:
    """`page_places` of a file on disk; (0,) for one that cannot be opened, which reading it says.

    Args:
        path: the file, of any kind of picture.
        bands: so many gray pages are the bands of one picture; 0: each is a picture.
    """
    try:
        with path.open("rb") as file:
            return page_places(file, bands)
    except OSError:
        return (0,)


def bands_of_pages(channels: int, value_range: ValueRange | None) -> int:
    """Of how many gray pages a model makes one picture; 0 for one that takes gray or RGB of 8 bits.

    Args:
        channels: number of channels or bands that the model takes.
        value_range: the stored numbers that become 0 and 255; None: files are of 8 bits.
    """
    return channels if channels > 1 and reads_bands(channels, value_range) else 0


def read_first(path: Path, channels: int, value_range: ValueRange | None) -> tuple[np.ndarray, int]:
    """What `read_image` gives of a file, and how many pages there are beside it.

    Args:
        path: the file that is read, also named in messages.
        channels: number of channels or bands that are wanted.
        value_range: the stored numbers that become 0 and 255; None: files are of 8 bits.
    """
    data = file_bytes(path)
    pixels = decode_image(path, data, channels, value_range)
    return pixels, len(page_places(io.BytesIO(data), bands_of_pages(channels, value_range))) - 1


def read_page(path: Path, place: int, channels: int, value_range: ValueRange | None) -> np.ndarray:
    """(H, W, channels) uint8 of one page, by the rules of `read_image`. Raises DataError as it does.

    The file stays open in each thread until another is read, so that the pages of a stack cost one walk through it.

    Args:
        path: the file that is read, also named in messages.
        place: of the page among the file's frames (`page_places`).
        channels: number of channels or bands that are wanted.
        value_range: the stored numbers that become 0 and 255; None: files are of 8 bits.
    """
    file = _open_file(path)
    banded = reads_bands(channels, value_range)
    try:
        stored = file.stored(place) if banded else image_pixels(file.frame(place), path)
    except UserError:
        raise
    except Exception as error:  # Pillow and tifffile raise many kinds for a damaged file
        raise unreadable(path, error, file.head) from None
    if not banded:
        return with_channels(stored, channels)
    return as_bytes(stored, path, channels, value_range)


class _PagedFile:
    """A file of several pages that is open. path: the file. stamp: its size and time of change when it was opened."""

    def __init__(self, path: Path, stamp: tuple[int, int]) -> None:
        self.path, self.stamp = path, stamp
        with path.open("rb") as file:
            self.head = file.read(_HEAD)
        if file_format(self.head) == "HEIC":
            teach_pillow(path)
        self._image: Image.Image | None = None
        self._tiff: Any = None

    def frame(self, place: int) -> Image.Image:
        """The frame, as Pillow gives it. Raises what Pillow raises."""
        with any_size():
            if self._image is None:
                self._image = Image.open(self.path)
            self._image.seek(place)
            refuse_size(self.path, (self._image.height, self._image.width))
            self._image.load()
        refuse_squeezed(self.path, self._image, self.head)
        return self._image

    def stored(self, place: int) -> np.ndarray:
        """(H, W, bands) numbers as they are stored. Raises what Pillow or tifffile raises."""
        if file_format(self.head) != "TIFF":
            return image_pixels(self.frame(place), self.path)
        if self._tiff is None:
            self._tiff = tifffile_for(self.path, self.head).TiffFile(self.path)
        page = self._tiff.pages[place]
        refuse_size(self.path, (page.imagelength, page.imagewidth))
        found = np.asarray(page.asarray())
        return np.moveaxis(found, 0, 2) if found.ndim == 3 and page.planarconfig == 2 else np.atleast_3d(found)

    def close(self) -> None:
        """Closes it."""
        for one in (self._image, self._tiff):
            if one is not None:
                one.close()


class _Open(threading.local):
    """The file that a thread has open."""

    file: _PagedFile | None = None


_open = _Open()


def _open_file(path: Path) -> _PagedFile:
    """The file, which stays open. Raises DataError for one that cannot be opened."""
    stamp = file_stamp(path)
    if _open.file is None or (_open.file.path, _open.file.stamp) != (path, stamp):
        if _open.file is not None:
            _open.file.close()
        _open.file = None
        _open.file = _PagedFile(path, stamp)
    return _open.file
