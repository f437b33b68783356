"""Pictures that Pillow opens: strictly decoded, turned as their EXIF tag says, as RGB or gray."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image, UnidentifiedImageError

from toolkit.data.faults.leaving_out import FileError
from toolkit.data.images.depth import stored_bits
from toolkit.data.images.formats import file_format
from toolkit.data.images.heic import teach_pillow
from toolkit.data.images.limits import any_size, pixel_limit, refuse_size
from toolkit.data.images.tiff import tiff_bands
from toolkit.data.images.whole_files import fail
from toolkit.errors import DataError, Problem

_EXIF_ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)


DEEP_MODES = {
    "I": "whole numbers of more than 8 bits",
    "F": "floating-point numbers",
    **dict.fromkeys(("I;16", "I;16B", "I;16L", "I;16N"), "16 bits a channel"),
}
"""Pillow's modes for more than 8 bits a channel, and what they are."""


_STRIP = 2**22
"""Pixels that are copied out of Pillow at a time."""


def open_image(path: Path, data: bytes) -> Image.Image:
    """Opens and decodes with Pillow, which raises for a truncated file of any format."""
    if file_format(data) == "HEIC":
        teach_pillow(path)
    try:
        with any_size():
            image = Image.open(io.BytesIO(data))
            refuse_size(path, (image.height, image.width))
            image.load()
    except FileError:
        raise
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise unreadable(path, error, data) from None
    refuse_squeezed(path, image, data)
    return image


def refuse_squeezed(path: Path, image: Image.Image, data: bytes) -> None:
    """Raises DataError for a file of more than 8 bits a channel of which Pillow made 8.

    Args:
        path: the file, as the message names it.
        image: the picture that Pillow opened.
        data: the first bytes of its file.
    """
    if image.mode not in DEEP_MODES and (bits := stored_bits(image, data)) > 8:
        refuse_depth(path, f"{bits} bits a channel", image.format)


def image_pixels(image: Image.Image, where: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an open PIL image, (H, W, 1) of a gray one, turned as its EXIF tag says.

    where: the file or what stands for it in messages. Raises DataError for more than 8 bits a channel, and for a file
    that turns out to be damaged when it is decoded.
    """
    if image.mode in DEEP_MODES:
        refuse_depth(where, DEEP_MODES[image.mode], image.format)
    orientation = orientation_of(image)
    try:
        pixels = rgb_pixels(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            Problem(where, f"cannot be decoded ({str(error).strip()})", "fetch it again, or remove it")
        ) from None
    if image.mode in ("L", "1", "LA"):
        pixels = pixels[:, :, :1]
    return np.ascontiguousarray(_oriented(pixels, orientation))


def rgb_pixels(image: Image.Image) -> np.ndarray:
    """The (H, W, 3) uint8 pixels; in strips, so that a large picture is not in memory three times."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, _STRIP // max(1, image.width))
    with any_size():
        for top in range(0, image.height, rows):
            strip = image.crop((0, top, image.width, min(image.height, top + rows)))
            pixels[top : top + rows] = np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
    return pixels


def _oriented(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns and mirrors as the EXIF tag says (Exif 2.32, tag 274): what a viewer shows."""
    if orientation in SIDEWAYS:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of an open image; 1 for one too large to read, because Pillow decodes a PNG to find it."""
    too_large = image.width * image.height > pixel_limit()
    return 1 if too_large else int(image.getexif().get(_EXIF_ORIENTATION, 1))


def refuse_depth(path: str | Path, found: str, kind: str | None = None) -> NoReturn:
    """Raises DataError for more than 8 bits a channel.

    Args:
        path: the file, or what stands for it in messages.
        found: what its numbers are ("16 bits a channel").
        kind: format of the file, where it is known.
    """
    message = f"wanted 8 bits a channel, found {f'a {kind} with ' if kind else ''}{found}"
    remedy = "say which stored numbers are black and white, data.value_range=[low,high], or convert it to 8 bits"
    fail("deep", path, message, remedy)


def unreadable(path: Path, error: Exception, data: bytes) -> FileError:
    """What is told of a file that Pillow refuses.

    Args:
        path: the file, as the message names it.
        error: what Pillow raised when it read the file.
        data: the bytes of the file.
    """
    if isinstance(error, UnidentifiedImageError):
        bands = tiff_bands(data)
        if bands is not None:
            message = f"is a TIFF of {bands.describe()}, which cannot be read"
            remedy = f"set data.channels: {bands.number}, or convert it to 8-bit gray or RGB"
            return FileError("deep", Problem(path, message, remedy))
        if file_format(data) in ("AVIF", "JPEG 2000", "WebP"):
            message = f"is {file_format(data)}, or a damaged one, which this Pillow does not read"
            return FileError("unread_format", Problem(path, message, "pip install -U pillow, or convert it to PNG"))
        remedy = "remove it, or convert it to PNG or JPEG"
        return FileError("not_an_image", Problem(path, "is no image of a known format", remedy))
    kind = "truncated" if "truncated" in str(error) else "damaged"
    return FileError(kind, Problem(path, f"cannot be decoded ({str(error).strip()})", "fetch it again, or remove it"))
