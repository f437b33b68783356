"""What an encoded image says of itself, read from its bytes: format, size, depth, and whether it is whole.

Decoders forgive: OpenCV makes a half-grey picture of a truncated JPEG. These checks cost a few microseconds a file
and are what makes reading strict.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

import simplejpeg

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Within compressed data FF is followed by 00 (a stuffed byte), D0..D7 (restart) or FF (fill); else it is a marker."""

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


class Encoded(NamedTuple):
    """What an encoded image says of itself.

    Args:
        kind: format of the file: "jpeg" or "png".
        size: stored (height, width) in pixels, before any EXIF orientation.
        bits: bits of a channel (a palette index counts as one channel).
        channels: number of stored channels, with alpha.
        color_type: PNG's (0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGB and alpha), else -1.
        damage: what is wrong with the file, "" when it is whole.
    """

    kind: str
    size: tuple[int, int]
    bits: int
    channels: int
    color_type: int
    damage: str


def inspect_encoded(data: bytes) -> Encoded | None:
    """Reads the headers of a JPEG or PNG and walks to its end. None for any other kind of file.

    >>> import cv2, numpy as np
    >>> data = cv2.imencode(".png", np.zeros((4, 6, 3), np.uint8))[1].tobytes()
    >>> inspect_encoded(data)[:4], inspect_encoded(data[:-8]).damage
    (('png', (4, 6), 8, 3), 'truncated: the IEND chunk is missing')
    """
    if data.startswith(b"\xff\xd8\xff"):
        return _inspect_jpeg(data)
    if data.startswith(PNG_SIGNATURE):
        return _inspect_png(data)
    return None


PADDING_BYTES = 8
"""Some cameras and editors leave bytes before the end marker, which harm nothing: fewer than these, or zeros, are let pass."""

_PADDING = re.compile(r"(\d+) extraneous bytes before marker 0xd9")


class JpegComplaint(NamedTuple):
    """What a strict decoder says of a JPEG. harmless: it is padding, and the picture is what was saved."""

    text: str
    harmless: bool


def jpeg_complaint(data: bytes) -> JpegComplaint | None:
    """Decodes a whole JPEG strictly; None when its compressed data are what an encoder wrote.

    libjpeg resynchronises after damaged bytes, fills what it cannot decode with gray and goes on with a warning, which
    no ordinary decoder passes on: here a warning is an answer.
    """
    try:
        space = simplejpeg.decode_jpeg_header(data, strict=False)[2]
        simplejpeg.decode_jpeg(data, {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}.get(space, "RGB"), strict=True)
    except (ValueError, KeyError) as error:  # KeyError: a kind of colours that it does not know
        text = str(error).removeprefix("Corrupt JPEG data: ")
        padding = _PADDING.search(text)
        return JpegComplaint(text, padding is not None and _is_padding(data, int(padding[1])))
    return None


def _is_padding(data: bytes, number: int) -> bool:
    """Whether so many bytes before the end marker are a few, or all zero."""
    end = data.rfind(b"\xff\xd9")
    return number < PADDING_BYTES or not any(data[end - number : end])


def _inspect_jpeg(data: bytes) -> Encoded:
    """Walks the marker segments (ITU-T T.81, annex B) to the end of image; bytes after it are legal."""
    size, bits, channels = (0, 0), 8, 0
    damage = "truncated: the end-of-image marker is missing"
    at = 2
    while True:
        found = _JPEG_MARKER.search(data, at)
        if found is None:
            break
        marker = data[found.start() + 1]
        if marker == 0xD9:
            damage = "" if size[0] * size[1] else "no picture before the end-of-image marker"
            break
        at = found.start() + 2
        if marker == 0x01:  # TEM: a marker without a segment
            continue
        if at + 2 > len(data):
            break
        if marker == 0xDA and size[0] * size[1] and data.endswith(b"\xff\xd9"):
            damage = (
                ""  # compressed data, in which no end marker can stand but the last: they need not be walked through
            )
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and at + 8 <= len(data):
            bits, height, width, channels = struct.unpack(">BHHB", data[at + 2 : at + 8])
            size = (height, width)
        at += struct.unpack(">H", data[at : at + 2])[0]
    return Encoded("jpeg", size, bits, channels, -1, damage)


def _inspect_png(data: bytes) -> Encoded:
    """Walks the chunks to IEND and compares each one's checksum (PNG specification, section 5)."""
    if len(data) < 33:
        return Encoded("png", (0, 0), 8, 0, 0, "truncated: the header is missing")
    width, height, bits, color_type = struct.unpack(">IIBB", data[16:26])
    damage = "truncated: the IEND chunk is missing"
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack(">I", data[end - 4 : end])[0]:
            damage = f"damaged: chunk {name.decode('latin-1')} has a wrong checksum"
            break
        if name == b"IEND":
            damage = ""
            break
        at = end
    return Encoded("png", (height, width), bits, _PNG_CHANNELS.get(color_type, 0), color_type, damage)
