"""What the directories of a TIFF say: bands of its picture, and which of its directories are pictures at all."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

_SUBFILE, _BITS, _SAMPLES, _PLANES, _FORMAT = 254, 258, 277, 284, 339
_DEFAULTS = {_SUBFILE: 0, _BITS: 1, _SAMPLES: 1, _PLANES: 1, _FORMAT: 1}
_NO_PAGE = 0b101
"""Bits of NewSubfileType of a directory that is a smaller copy (an overview), or a mask, of another."""


class _Layout(NamedTuple):
    """Where things stand in a file: struct's formats of the start, a count of entries, an entry, and the next place."""

    start: str
    at: int
    number: str
    entry: str
    next: str


_LAYOUTS = {
    b"II*\0": _Layout("<I", 4, "<H", "<HHI4s", "<I"),
    b"MM\0*": _Layout(">I", 4, ">H", ">HHI4s", ">I"),
    b"II+\0": _Layout("<Q", 8, "<Q", "<HHQ8s", "<Q"),  # BigTIFF
    b"MM\0+": _Layout(">Q", 8, ">Q", ">HHQ8s", ">Q"),
}


class TiffBands(NamedTuple):
    """What a TIFF's first picture says of its bands.

    Args:
        number: how many bands a pixel has.
        bits: how many bits a band has.
        kind: what its numbers are, in words ("whole numbers").
        planar: whether each band is stored as a plane of its own.
    """

    number: int
    bits: int
    kind: str
    planar: bool = False

    def describe(self) -> str:
        """In words: 4 bands of 16-bit whole numbers."""
        return f"{self.number} band{'s' if self.number != 1 else ''} of {self.bits}-bit {self.kind}"


_KINDS = {1: "whole numbers", 2: "signed numbers", 3: "floating-point numbers"}


def tiff_bands(data: bytes) -> TiffBands | None:
    """The tags 258 BitsPerSample, 277 SamplesPerPixel, 284 PlanarConfiguration and 339 SampleFormat of a TIFF (TIFF 6.0);
    None for other files.

    >>> import cv2, numpy as np
    >>> tiff_bands(cv2.imencode(".tiff", np.zeros((4, 6), np.uint16))[1].tobytes()).describe()
    '1 band of 16-bit whole numbers'
    """
    tags = next(_directories(io.BytesIO(data)), None) if data[:4] in _LAYOUTS else None
    if tags is None:
        return None
    return TiffBands(tags[_SAMPLES], tags[_BITS], _KINDS.get(tags[_FORMAT], "numbers"), tags[_PLANES] == 2)


def tiff_pages(file: BinaryIO, bands: int = 0) -> Sequence[int]:
    """Places, among a TIFF's directories, of its pages: not of smaller copies and masks of one. (0,) at least.

    Args:
        file: the file, open for reading.
        bands: so many gray pages are the bands of one picture; 0: each is a picture.
    """
    found = list(_directories(file))
    places = [place for place, tags in enumerate(found) if not tags[_SUBFILE] & _NO_PAGE]
    is_one = 1 < bands == len(places) and all(found[place][_SAMPLES] == 1 for place in places)
    return (places[:1] if is_one else places) or (0,)


def _directories(file: BinaryIO) -> Iterator[dict[int, int]]:
    """Numbers of some tags of each directory, as far as the file goes."""
    file.seek(0)
    head = file.read(16)
    layout = _LAYOUTS.get(head[:4])
    if layout is None:
        return
    seen: set[int] = set()
    try:
        (at,) = struct.unpack_from(layout.start, head, layout.at)
        while at and at not in seen:
            seen.add(at)
            file.seek(at)
            (count,) = struct.unpack(layout.number, file.read(struct.calcsize(layout.number)))
            size = struct.calcsize(layout.entry)
            entries = file.read(min(count, 0xFFFF) * size)
            following = file.read(struct.calcsize(layout.next))
            tags = dict(_DEFAULTS)
            for tag, kind, number, value in struct.iter_unpack(layout.entry, entries):
                if tag in tags:
                    tags[tag] = _first_number(file, layout, kind, number, value)
            yield tags
            (at,) = struct.unpack(layout.next, following)
    except struct.error:  # cut short; reading it says so
        return


def _first_number(file: BinaryIO, layout: _Layout, kind: int, number: int, value: bytes) -> int:
    """The first of a tag's numbers, 16 (kind 3) or 32 bits, in the entry itself where they have room there."""
    form = layout.start[0] + ("H" if kind == 3 else "I")
    size = struct.calcsize(form)
    if number * size > len(value):
        (place,) = struct.unpack(layout.next, value)
        file.seek(place)
        value = file.read(size)
    return int(struct.unpack(form, value[:size])[0])
