"""Strict reading of images and label maps: what comes back is what the file holds, or a DataError says why not.

Images. RGB uint8, whatever the file's order. A gray file read with 3 channels is repeated, a colour file read with 1
is weighted to luma (ITU-R BT.601); palettes are expanded; alpha is dropped, not blended; CMYK is converted. The EXIF
orientation is applied. 16-bit files are refused: scaling them down is a decision about the data.

Label maps. A palette file (mode P) gives its indices, never its colours; gray files give the stored values, also at 1,
2 and 4 bits and as floating-point numbers that are whole; several equal channels are one; EXIF is not applied. A file
with different channels holds colours, not labels, and is refused, as is what a lossy compression has changed.

Pictures above `pixel_limit()` are not read: a header of a few bytes can claim any size.
"""

from __future__ import annotations

import io
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from toolkit.data.faults.leaving_out import FileError
from toolkit.data.images.bands import ValueRange, refuse_bands, refuse_unscaled, stored_bands, to_bytes
from toolkit.data.images.checks import Encoded, inspect_encoded, tiff_bands
from toolkit.data.images.jpeg import decode_jpeg, decodes_plainly
from toolkit.errors import ConfigError, DataError, Problem, missing_path

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


MAX_PIXELS = 2**28
"""Pixels of the largest picture that is read, unless the environment says otherwise: 16384x16384. Reading takes about 8
bytes of memory a pixel while it lasts."""

LIMIT_VARIABLE = "TOOLKIT_MAX_PIXELS"
"""Environment variable with another limit; worker processes inherit it."""

_OPENCV_PIXELS, _OPENCV_SIDE = 2**30, 2**20
"""The largest pictures that OpenCV decodes (CV_IO_MAX_IMAGE_PIXELS, _WIDTH and _HEIGHT); larger ones take Pillow."""

_STRIP = 2**22
"""Pixels that are copied out of Pillow at a time."""


def pixel_limit() -> int:
    """Pixels of the largest picture that is read: `MAX_PIXELS`, or what TOOLKIT_MAX_PIXELS says.

    Raises ConfigError when that is no whole number above 0.
    """
    text = os.environ.get(LIMIT_VARIABLE, "")
    if not text:
        return MAX_PIXELS
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(Problem(LIMIT_VARIABLE, f"is '{text}', wanted a number of pixels such as {MAX_PIXELS}"))
    return int(text)


@contextmanager
def any_size() -> Iterator[None]:
    """Inside, Pillow opens pictures of any size without a word: the limit here is `pixel_limit`, and says so itself."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


class Source(ABC):
    """Where `read_image` and its kin get pixels from inside `reading_from`: a cache, or a decoder that waits."""

    @abstractmethod
    def image(self, path: Path, channels: int, value_range: ValueRange | None) -> np.ndarray:
        """What `decode_image` gives, or something of its shape and type.

        Args:
            path: the image's file, from which it is read.
            channels: number of channels or bands that are wanted.
            value_range: the stored numbers that become 0 and 255; None: files are of 8 bits.
        """

    @abstractmethod
    def labels(self, path: Path) -> np.ndarray:
        """What `decode_label_map` gives."""

    @abstractmethod
    def colors(self, path: Path) -> np.ndarray:
        """What `decode_color_map` gives."""


_source: ContextVar[Source | None] = ContextVar("source", default=None)


@contextmanager
def reading_from(source: Source) -> Iterator[None]:
    """Inside, pixels come from there."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


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
    path, source = Path(path), _source.get()
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
    if value_range is not None or channels not in (1, 3) or path.suffix.lower() == ".npy":
        return _read_bands(path, data, channels, value_range)
    encoded = _whole(path, data)
    if encoded is None or (encoded.kind == "jpeg" and encoded.channels == 4) or _beyond_opencv(encoded):  # 4: CMYK
        return with_channels(image_pixels(_open(path, data), path), channels)
    if encoded.bits > 8:
        _refuse_depth(path, f"{encoded.bits} bits a channel")
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
    if value_range is not None or channels not in (1, 3) or path.suffix.lower() == ".npy":
        return None
    encoded = _whole(path, data)
    fits = encoded is not None and decodes_plainly(data, encoded) and not _beyond_opencv(encoded)
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
        _fail(
            "damaged",
            path,
            f"the {encoded.kind.upper()} cannot be decoded",
            "open and save it again, or fetch it again",
        )
    if channels == 3:
        return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, decoded)
    return decoded[:, :, None]


def _read_bands(path: Path, data: bytes, channels: int, value_range: ValueRange | None) -> np.ndarray:
    encoded = _whole(path, data)
    if encoded is not None and encoded.kind == "jpeg":
        stored = image_pixels(_open(path, data), path)
    else:
        stored = stored_bands(path, data, channels)
        _refuse_size(path, (stored.shape[0], stored.shape[1]))
    if stored.shape[2] == channels + 1 and encoded is not None and encoded.color_type in (4, 6):
        stored = stored[:, :, :channels]  # alpha, as everywhere, is dropped
    if value_range is None:
        refuse_unscaled(stored, path)
        pixels = stored.astype(np.uint8, copy=False)
    else:
        pixels = to_bytes(stored, value_range, path)
    if {pixels.shape[2], channels} != {1, 3}:
        refuse_bands(pixels.shape[2], channels, path)
    return np.ascontiguousarray(with_channels(pixels, channels))


def read_label_map(path: str | Path) -> np.ndarray:
    """The stored values as (H, W) uint8, or uint16 when a 16-bit file holds values above 255.

    Raises DataError as `read_image` does, and for a colour picture, one with labels in its alpha channel and a JPEG.
    """
    path, source = Path(path), _source.get()
    return decode_label_map(path, file_bytes(path)) if source is None else source.labels(path)


def decode_label_map(path: Path, data: bytes) -> np.ndarray:
    """See `read_label_map`. data: the whole file."""
    encoded = _whole(path, data)
    if encoded is not None and encoded.kind == "jpeg":
        _fail("jpeg_mask", path, "the mask is a JPEG, whose compression changes values", "make the masks PNG files")
    if _is_lossy_webp(data):
        _fail(
            "jpeg_mask", path, "the mask is a lossy WebP, whose compression changes values", "make the masks PNG files"
        )
    plain = _gray_png(data, encoded)
    if plain is not None:
        return plain
    image = _open(path, data)
    if image.mode in ("RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "LA", "PA"):
        return _gray_labels(path, image)
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


def _gray_png(data: bytes, encoded: Encoded | None) -> np.ndarray | None:
    """The values of an 8-bit gray PNG without transparency, which OpenCV reads sooner; None for all others."""
    if encoded is None or (encoded.color_type, encoded.bits) != (0, 8) or _beyond_opencv(encoded) or b"tRNS" in data:
        return None
    try:
        labels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # e.g. no memory
        return None
    return labels if labels is not None and labels.shape == encoded.size and labels.dtype == np.uint8 else None


def read_color_map(path: str | Path) -> np.ndarray:
    """A colour-coded mask as (H, W, 3) uint8 RGB; palettes are expanded, gray is repeated. Raises DataError."""
    path, source = Path(path), _source.get()
    return decode_color_map(path, file_bytes(path)) if source is None else source.colors(path)


def decode_color_map(path: Path, data: bytes) -> np.ndarray:
    """See `read_color_map`. data: the whole file."""
    _whole(path, data)
    image = _open(path, data)
    if image.mode in _DEEP_MODES:
        _refuse_depth(path, _DEEP_MODES[image.mode], image.format)
    return _rgb(image)


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) as `read_image` will return it, EXIF orientation applied, from the header alone."""
    path = Path(path)
    if path.suffix.lower() == ".npy":
        stored = stored_bands(path, file_bytes(path), 0)
        return (stored.shape[0], stored.shape[1])
    try:
        with any_size(), Image.open(path) as image:
            width, height = image.size
            if isinstance(image, TiffImageFile):  # the stored size: some Pillows turn `size` of a TIFF, some do not
                width, height = image.tag_v2[256], image.tag_v2[257]
            sideways = orientation_of(image) in _SIDEWAYS
    except Exception as error:  # Pillow raises many kinds for a damaged header
        data = file_bytes(path)  # says it better for a missing or empty file
        raise _unreadable(path, error, data) from None
    return (width, height) if sideways else (height, width)


def exif_orientation(path: str | Path) -> int:
    """The EXIF orientation 1..8 of a readable image; 1 when it has none."""
    with any_size(), Image.open(path) as image:
        return orientation_of(image)


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of an open image; 1 for one too large to read, because Pillow decodes a PNG to find it."""
    too_large = image.width * image.height > pixel_limit()
    return 1 if too_large else int(image.getexif().get(_EXIF_ORIENTATION, 1))


def file_bytes(path: Path) -> bytes:
    """The whole file. Raises DataError for one that is missing, empty, unreadable or no file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe or a device may never end
            _fail("unreadable", path, "is no file (a folder, a pipe or a device)", "remove it")
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
    if encoded is not None:
        _refuse_size(path, encoded.size)
    return encoded


def _refuse_size(path: Path, size: tuple[int, int]) -> None:
    limit = pixel_limit()
    if size[0] * size[1] > limit:
        message = f"claims {size[1]}x{size[0]} = {size[0] * size[1]:,} pixels; more than {limit:,} are not read"
        remedy = (
            f"cut it into pieces; or, if it is what it claims and memory allows (8 bytes a pixel), set {LIMIT_VARIABLE}"
        )
        _fail("too_large", path, message, remedy)


def _beyond_opencv(encoded: Encoded) -> bool:
    height, width = encoded.size
    return height * width > _OPENCV_PIXELS or max(height, width) > _OPENCV_SIDE


def _is_lossy_webp(data: bytes) -> bool:
    """Whether the picture is in a chunk "VP8 " (lossy) and not in "VP8L" (RFC 9649)."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and b"VP8 " in data[12:4096] and b"VP8L" not in data[12:64]


def _open(path: Path, data: bytes) -> Image.Image:
    """Opens and decodes with Pillow, which raises for a truncated file of any format."""
    try:
        with any_size():
            image = Image.open(io.BytesIO(data))
            _refuse_size(path, (image.height, image.width))
            image.load()
    except FileError:
        raise
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise _unreadable(path, error, data) from None
    return image


def _rgb(image: Image.Image) -> np.ndarray:
    """The (H, W, 3) uint8 pixels; in strips, so that a large picture is not in memory three times."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, _STRIP // max(1, image.width))
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(image.height, top + rows)))
        pixels[top : top + rows] = np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
    return pixels


def image_pixels(image: Image.Image, where: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an open PIL image, (H, W, 1) of a gray one, turned as its EXIF tag says.

    where: the file or what stands for it in messages. Raises DataError for more than 8 bits a channel, and for a file
    that turns out to be damaged when it is decoded.
    """
    if image.mode in _DEEP_MODES:
        _refuse_depth(where, _DEEP_MODES[image.mode], image.format)
    orientation = orientation_of(image)
    try:
        pixels = _rgb(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(Problem(where, f"cannot be decoded ({error})", "fetch it again, or remove it")) from None
    if image.mode in ("L", "1", "LA"):
        pixels = pixels[:, :, :1]
    return np.ascontiguousarray(_oriented(pixels, orientation))


def with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """(H, W, channels) of (H, W, 1 or 3) uint8: gray repeated, or colour weighted to luma (ITU-R BT.601).

    The weights are OpenCV's, not Pillow's integer ones, so that one picture is the same in every format.
    """
    if pixels.shape[2] == channels:
        return pixels
    if channels == 1:
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)[:, :, None]
    return np.repeat(pixels[:, :, :1], channels, axis=2)


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
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.round(values)).all()):
        message = f"the mask ({image.format}) holds floating-point numbers that are not whole, so no class ids"
        _fail("mask_kind", path, message, "save the class ids as an 8-bit gray PNG")
    if values.min() < 0 or values.max() > 65535:
        message = f"the mask holds values {values.min()}..{values.max()}; class ids are 0..254"
        _fail("mask_kind", path, message, "save the class ids as an 8-bit gray PNG")
    return values.astype(np.uint8 if values.max() <= 255 else np.uint16)


def _gray_labels(path: Path, image: Image.Image) -> np.ndarray:
    """The one channel that all colour channels of a mask are equal to. Raises DataError for a mask of colours."""
    if image.mode in ("RGBA", "LA"):
        _refuse_alpha(path, image)
    pixels = _rgb(image)
    if image.mode not in ("RGB", "RGBA", "LA") or not (pixels == pixels[..., :1]).all():
        _refuse_colors(path, image, pixels)
    return np.ascontiguousarray(pixels[..., 0])


def _refuse_alpha(path: Path, image: Image.Image) -> None:
    """Raises DataError for a mask whose alpha channel is more than one value: the labels may lie there."""
    alpha = np.asarray(image.getchannel("A"))
    if alpha.min() == alpha.max():
        return
    one_color = all(low == high for low, high in image.convert("RGB").getextrema())  # type: ignore[misc]
    where = "the colours are all the same: the labels lie in alpha" if one_color else "and the colours differ too"
    message = f"{_found(image)}; alpha holds {len(np.unique(alpha))} values, {where}"
    kept = "the alpha channel" if one_color else "the channel that holds the class ids"
    _fail("alpha_mask", path, message, f"save {kept} alone as an 8-bit gray PNG")


def _refuse_colors(path: Path, image: Image.Image, pixels: np.ndarray) -> NoReturn:
    colors = np.unique(pixels.reshape(-1, 3), axis=0)
    shown = ", ".join(str([int(v) for v in color]) for color in colors[:6])
    _fail(
        "color_mask",
        path,
        f"{_found(image)}: a colour mask with {len(colors)} colours ({shown}{' ...' if len(colors) > 6 else ''})",
        "read it with data set 'image_masks' and colors: {class name: [r, g, b], ...}, or convert it to class ids",
    )


def _found(image: Image.Image) -> str:
    return f"the mask has channels {'/'.join(image.getbands())}, wanted one channel of class ids"


def _refuse_depth(path: str | Path, found: str, kind: str | None = None) -> NoReturn:
    message = f"wanted 8 bits a channel, found {f'a {kind} with ' if kind else ''}{found}"
    remedy = "say which stored numbers are black and white, data.value_range: [low, high], or convert it to 8 bits"
    _fail("deep", path, message, remedy)


def _unreadable(path: Path, error: Exception, data: bytes) -> FileError:
    if isinstance(error, UnidentifiedImageError):
        bands = tiff_bands(data)
        if bands is not None:
            message = f"is a TIFF of {bands.describe()}, which cannot be read"
            remedy = f"set data.channels: {bands.number}, or convert it to 8-bit gray or RGB"
            return FileError("deep", Problem(path, message, remedy))
        remedy = "remove it, or convert it to PNG or JPEG"
        return FileError("not_an_image", Problem(path, "is no image of a known format", remedy))
    kind = "truncated" if "truncated" in str(error) else "damaged"
    return FileError(kind, Problem(path, f"cannot be decoded ({error})", "fetch it again, or remove it"))


def _fail(kind: str, path: str | Path, message: str, suggestion: str = "") -> NoReturn:
    raise FileError(kind, Problem(path, message, suggestion))
