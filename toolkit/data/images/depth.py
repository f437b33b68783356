"""Bits a channel that a file stores, of formats whose deeper pictures Pillow hands on as 8 bits without a word."""

from __future__ import annotations

import re

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from toolkit.data.images.formats import file_format

_PNM = re.compile(rb"P[2356]" + rb"(?:\s|#[^\n]*\n)+(\d+)" * 3)
"""Width, height and largest value of a PNM file, with comments between them (netpbm's specification)."""
_BITS_PER_SAMPLE = 258
_CODESTREAM = b"\xff\x4f\xff\x51"
"""Start of a JPEG 2000 codestream and of its marker SIZ, 42 bytes behind which the depth of the first channel stands."""


def stored_bits(image: Image.Image, data: bytes) -> int:
    """Bits a channel of an open picture's file; 8 where Pillow's own mode says it.

    Args:
        image: the picture, at the page that is meant.
        data: the first bytes of its file.
    """
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (1,))
        return max(bits) if isinstance(bits, tuple) else int(bits)
    kind = file_format(data)
    if kind == "PNM":
        found = _PNM.match(data[:4096])
        return int(found[3]).bit_length() if found else 8
    at = data.find(_CODESTREAM, 0, 1 << 16) if kind == "JPEG 2000" else -1
    return (data[at + 42] & 0x7F) + 1 if 0 <= at < len(data) - 42 else 8
