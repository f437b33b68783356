"""Strict reading of images: what comes back is what the file holds, or a DataError says why not.

RGB uint8, whatever the file's order. A gray file read with 3 channels is repeated, a colour file read with 1 is weighted to
luma (ITU-R BT.601); palettes are expanded; alpha is dropped, not blended; CMYK is converted. The EXIF orientation is applied.
16-bit files are refused: scaling them down is a decision about the data.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from toolkit.data.images.bands import ValueRange, as_bytes, reads_bands, stored_bands, with_channels
from toolkit.data.images.by_pillow import (
    SIDEWAYS,
    image_pixels,
    open_image,
    orientation_of,
    refuse_depth,
    unreadable,
)
from toolkit.data.images.checks import Encoded, inspect_encoded
from toolkit.data.images.formats import file_format
from toolkit.data.images.heic import teach_pillow
from toolkit.data.images.jpeg import decode_jpeg, decodes_plainly
from toolkit.data.images.limits import any_size, beyond_opencv, refuse_size
from toolkit.data.images.sources import current_source
from toolkit.data.images.whole_files import checked_headers, fail, file_bytes

_BY_PILLOW = ("GIF", "WebP", "HEIC", "AVIF")
"""Formats of 8 bits that Pillow reads, alpha dropped and turned upright, where numbers are wanted as they are stored."""


def read_image(path: str | Path, channels: int = 3, value_range: ValueRange | None = None) -> np.ndarray:
    """The image as (H, W, channels) uint8, RGB when channels is 3 and gray when it is 1, EXIF orientation applied.

    Args:
        path: the image's file; .npy for an array that numpy saved.
        channels: number of channels or bands; gray and RGB are converted into one another, others have to be there.
        value_range: the stored numbers that become 0 and 255 (`bands.py`); None: files are of 8 bits.

    Raises:
        DataError: when the file is missing, empty, no image, truncated, damaged, deeper than 8 bits a channel without
            `value_range`, of another number of bands, or larger than `pixel_limit()`.
    """
    path, source = Path(path), current_source.get()
    if source is not None:
        return source.image(path, channels, value_range)
    return decode_image(path, file_bytes(path), channels, value_range)


def decode_image(path: Path, data: bytes, channels: int, value_range: ValueRange | None) -> np.ndarray:
    """See `read_image`.

    Args:
        path: the image's file, as messages name it.
        data: the bytes of the whole file.
        channels: number of channels or bands that are wanted.
        value_range: the stored numbers that become 0 and 255; None: files are of 8 bits.
    """
    if reads_bands(channels, value_range) or path.suffix.lower() == ".npy":
        return _read_bands(path, data, channels, value_range)
    encoded = checked_headers(path, data)
    if encoded is None or (encoded.kind == "jpeg" and encoded.channels == 4) or beyond_opencv(encoded):  # 4: CMYK
        return with_channels(image_pixels(open_image(path, data), path), channels)
    if encoded.bits > 8:
        refuse_depth(path, f"{encoded.bits} bits a channel")
    plain = decode_jpeg(data, encoded, channels) if decodes_plainly(data, encoded) else None
    return plain if plain is not None else _by_opencv(path, data, encoded, channels)


def halvable_size(path: Path, data: bytes, channels: int, value_range: ValueRange | None) -> tuple[int, int] | None:
    """(height, width) of an image that `decode_halved` can decode; None for all others. Raises as `read_image` does.

    Args:
        path: the image's file, as messages name it.
        data: the bytes of the whole file.
        channels: number of channels or bands that are wanted.
        value_range: the stored numbers that become 0 and 255; None: files are of 8 bits.
    """
    if reads_bands(channels, value_range) or path.suffix.lower() == ".npy":
        return None
    encoded = checked_headers(path, data)
    fits = encoded is not None and decodes_plainly(data, encoded) and not beyond_opencv(encoded)
    return encoded.size if encoded is not None and fits else None


def decode_halved(path: Path, data: bytes, channels: int, halvings: int) -> np.ndarray:
    """(ceil(H / 2^halvings), ceil(W / 2^halvings), channels) uint8. Raises DataError for a JPEG that cannot be decoded.

    Args:
        path: the image's file, as messages name it.
        data: the whole file, of which `halvable_size` says a size.
        channels: 3 for RGB, or 1 for gray.
        halvings: times that height and width are halved, 0 to 3.
    """
    encoded = inspect_encoded(data)
    halved = decode_jpeg(data, encoded, channels, halvings) if encoded is not None else None
    if halved is not None:
        return halved
    pixels = decode_image(path, data, channels, None)
    height, width = (-(-side // 2**halvings) for side in pixels.shape[:2])
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, channels)


def _by_opencv(path: Path, data: bytes, encoded: Encoded, channels: int) -> np.ndarray:
    how = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:  # e.g. no memory
        decoded = None
    if decoded is None:
        fail(
            "damaged",
            path,
            f"the {encoded.kind.upper()} cannot be decoded",
            "open and save it again, or fetch it again",
        )
    if channels == 3:
        return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, decoded)
    return decoded[:, :, None]


def _read_bands(path: Path, data: bytes, channels: int, value_range: ValueRange | None) -> np.ndarray:
    encoded = checked_headers(path, data)
    if (encoded is not None and encoded.kind == "jpeg") or file_format(data) in _BY_PILLOW:
        stored = image_pixels(open_image(path, data), path)
    else:
        stored = stored_bands(path, data, channels)
        refuse_size(path, (stored.shape[0], stored.shape[1]))
    if stored.shape[2] == channels + 1 and encoded is not None and encoded.color_type in (4, 6):
        stored = stored[:, :, :channels]  # alpha, as everywhere, is dropped
    return as_bytes(stored, path, channels, value_range)


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) as `read_image` will return it, EXIF orientation applied, from the header alone."""
    path = Path(path)
    if path.suffix.lower() == ".npy":
        stored = stored_bands(path, file_bytes(path), 0)
        return (stored.shape[0], stored.shape[1])
    try:
        width, height, sideways = _header(path)
    except Exception as error:  # Pillow raises many kinds for a damaged header
        data = file_bytes(path)  # says it better for a missing or empty file
        if file_format(data) != "HEIC":
            raise unreadable(path, error, data) from None
        teach_pillow(path)
        try:
            width, height, sideways = _header(path)
        except Exception as damage:  # the same of libheif
            raise unreadable(path, damage, data) from None
    return (width, height) if sideways else (height, width)


def _header(path: Path) -> tuple[int, int, bool]:
    """Width and height as they are stored, and whether the picture is to be turned by a quarter. Raises what Pillow does."""
    with any_size(), Image.open(path) as image:
        width, height = image.size
        if isinstance(image, TiffImageFile):  # the stored size: some Pillows turn `size` of a TIFF, some do not
            width, height = image.tag_v2[256], image.tag_v2[257]
        return width, height, orientation_of(image) in SIDEWAYS


def exif_orientation(path: str | Path) -> int:
    """The EXIF orientation 1..8 of a readable image; 1 when it has none."""
    with any_size(), Image.open(path) as image:
        return orientation_of(image)
