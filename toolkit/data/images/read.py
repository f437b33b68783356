"""Strict reading of images and label maps: what comes back is what the file holds, or a DataError says why not.

Images. RGB uint8, whatever the file's order. A gray file read with 3 channels is repeated, a colour file read with 1
is weighted to luma (ITU-R BT.601); palettes are expanded; alpha is dropped, not blended; CMYK is converted. The EXIF
orientation is applied. 16-bit files are refused: scaling them down is a decision about the data.

Label maps. A palette file (mode P) gives its indices, never its colours; gray files give the stored values, also at 1,
2 and 4 bits; EXIF is not applied. A file with three channels holds colours, not labels, and is refused, as is a JPEG,
whose compression changes values.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from toolkit.data.faults.leaving_out import FileError
from toolkit.data.images.checks import Encoded, inspect_encoded, tiff_bands
from toolkit.errors import Problem, missing_path

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
"""Extensions (any case) by which a folder's images are told from its other files."""

_EXIF_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
_DEEP_MODES = {
    "I": "whole numbers of more than 8 bits",
    "F": "floating-point numbers",
    **dict.fromkeys(("I;16", "I;16B", "I;16L", "I;16N"), "16 bits a channel"),
}
"""Pillow's modes for more than 8 bits a channel, and what they are."""


def read_image(path: str | Path, channels: int = 3) -> np.ndarray:
    """The image as (H, W, channels) uint8, RGB when channels is 3 and gray when it is 1, EXIF orientation applied.

    Raises DataError when the file is missing, empty, no image, truncated, damaged or deeper than 8 bits a channel.
    """
    path = Path(path)
    data = _bytes_of(path)
    encoded = _whole(path, data)
    if encoded is None or (encoded.kind == "jpeg" and encoded.channels == 4):  # CMYK
        return _read_by_pillow(path, data, channels)
    if encoded.bits > 8:
        _refuse_depth(path, f"{encoded.bits} bits a channel")
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE)
    if decoded is None:
        _fail(
            "damaged",
            path,
            f"the {encoded.kind.upper()} cannot be decoded",
            "open and save it again, or fetch it again",
        )
    if channels == 3:
        return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, decoded)
    return decoded[:, :, None]


def read_label_map(path: str | Path) -> np.ndarray:
    """The stored values as (H, W) uint8, or uint16 when a 16-bit file holds values above 255.

    Raises DataError as `read_image` does, and for a colour picture, a picture with alpha and a JPEG.
    """
    path = Path(path)
    data = _bytes_of(path)
    encoded = _whole(path, data)
    if encoded is not None and encoded.kind == "jpeg":
        _fail("jpeg_mask", path, "the mask is a JPEG, whose compression changes values", "make the masks PNG files")
    image = _open(path, data)
    if image.mode in ("RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "LA", "PA"):
        _refuse_color_mask(path, image)
    if image.mode in _DEEP_MODES:
        return _deep_labels(path, image)
    if image.mode not in ("P", "L", "1"):
        _fail(
            "mask_kind",
            path,
            f"the mask is a {image.format} of {image.mode}, which holds no class ids",
            "save it as an 8-bit gray PNG",
        )
    labels = np.asarray(image).astype(np.uint8)
    if encoded is not None and encoded.color_type == 0 and encoded.bits in (2, 4):
        labels //= 255 // (2**encoded.bits - 1)  # Pillow stretches 2- and 4-bit gray to 0..255; undo it
    return labels


def read_color_map(path: str | Path) -> np.ndarray:
    """A colour-coded mask as (H, W, 3) uint8 RGB; palettes are expanded, gray is repeated. Raises DataError."""
    path = Path(path)
    data = _bytes_of(path)
    _whole(path, data)
    image = _open(path, data)
    if image.mode in _DEEP_MODES:
        _refuse_depth(path, _DEEP_MODES[image.mode], image.format)
    return np.asarray(image.convert("RGB"))


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) as `read_image` will return it, EXIF orientation applied, from the header alone."""
    path = Path(path)
    try:
        with Image.open(path) as image:
            width, height = image.size
            if isinstance(image, TiffImageFile):  # the stored size: some Pillows turn `size` of a TIFF, some do not
                width, height = image.tag_v2[256], image.tag_v2[257]
            sideways = image.getexif().get(_EXIF_ORIENTATION) in _SIDEWAYS
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        data = _bytes_of(path)  # says it better for a missing or empty file
        raise _unreadable(path, error, data) from None
    return (width, height) if sideways else (height, width)


def exif_orientation(path: str | Path) -> int:
    """The EXIF orientation 1..8 of a readable image; 1 when it has none."""
    with Image.open(path) as image:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))


def _bytes_of(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileError("missing", missing_path("file", path), file=str(path)) from None
    except OSError as error:
        raise FileError("unreadable", Problem(path, f"cannot be read: {error.strerror}")) from None
    if not data:
        _fail("empty", path, "the file is empty (0 bytes)", "fetch it again, or remove it")
    return data


def _whole(path: Path, data: bytes) -> Encoded | None:
    """Headers of a JPEG or PNG that is complete; None for other formats, which Pillow reads strictly."""
    encoded = inspect_encoded(data)
    if encoded is not None and encoded.damage:
        kind = "truncated" if encoded.damage.startswith("truncated") else "damaged"
        _fail(kind, path, f"the {encoded.kind.upper()} is {encoded.damage}", "fetch it again, or remove it")
    return encoded


def _open(path: Path, data: bytes) -> Image.Image:
    """Opens and decodes with Pillow, which raises for a truncated file of any format."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error, data) from None
    return image


def _read_by_pillow(path: Path, data: bytes, channels: int) -> np.ndarray:
    image = _open(path, data)
    if image.mode in _DEEP_MODES:
        _refuse_depth(path, _DEEP_MODES[image.mode], image.format)
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    pixels = np.asarray(image.convert("RGB"))
    if channels == 1:
        # OpenCV's weights, not Pillow's integer ones, so that one picture is the same in every format.
        gray = pixels[:, :, 0] if image.mode in ("L", "1", "LA") else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        pixels = gray[:, :, None]
    return np.array(_oriented(pixels, orientation))


def _oriented(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns and mirrors as the EXIF tag says (Exif 2.32, tag 274): what a viewer shows."""
    if orientation in _SIDEWAYS:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _deep_labels(path: Path, image: Image.Image) -> np.ndarray:
    values = np.asarray(image)
    if values.dtype.kind == "f":
        message = f"the mask ({image.format}) holds floating-point numbers, not class ids"
        _fail("mask_kind", path, message, "save it as an 8-bit gray PNG")
    if values.min() < 0 or values.max() > 65535:
        message = f"the mask holds values {values.min()}..{values.max()}; class ids are 0..254"
        _fail("mask_kind", path, message, "save the class ids as an 8-bit gray PNG")
    return values.astype(np.uint8 if values.max() <= 255 else np.uint16)


def _refuse_color_mask(path: Path, image: Image.Image) -> NoReturn:
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    found = f"the mask has channels {'/'.join(image.getbands())}, wanted one channel of class ids"
    if (pixels == pixels[:, :1]).all():
        message = f"{found}; its channels are equal: a gray mask saved with several"
        _fail("gray_mask_channels", path, message, "keep one channel of it")
    colors = np.unique(pixels, axis=0)
    shown = ", ".join(str([int(v) for v in color]) for color in colors[:6])
    _fail(
        "color_mask",
        path,
        f"{found}: this is a colour mask with {len(colors)} colours ({shown}{' ...' if len(colors) > 6 else ''})",
        "read it with data set 'image_masks' and colors: {class name: [r, g, b], ...}, or convert it to class ids",
    )


def _refuse_depth(path: Path, found: str, kind: str | None = None) -> NoReturn:
    message = f"wanted 8 bits a channel, found {f'a {kind} with ' if kind else ''}{found}"
    _fail("deep", path, message, "convert it to 8 bits with a range that suits the data")


def _unreadable(path: Path, error: Exception, data: bytes) -> FileError:
    if isinstance(error, UnidentifiedImageError):
        bands = tiff_bands(data)
        if bands is not None:
            message = f"is a TIFF of {bands.describe()}, which cannot be read"
            return FileError("deep", Problem(path, message, "convert it to 8-bit gray or RGB"))
        remedy = "remove it, or convert it to PNG or JPEG"
        return FileError("not_an_image", Problem(path, "is no image of a known format", remedy))
    kind = "truncated" if "truncated" in str(error) else "damaged"
    return FileError(kind, Problem(path, f"cannot be decoded ({error})", "fetch it again, or remove it"))


def _fail(kind: str, path: Path, message: str, suggestion: str = "") -> NoReturn:
    raise FileError(kind, Problem(path, message, suggestion))
