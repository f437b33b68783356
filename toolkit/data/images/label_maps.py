"""Strict reading of label maps and colour maps: what comes back is what the file holds, or a DataError says why not.

A palette file (mode P) gives its indices, never its colours; gray files give the stored values, also at 1, 2 and 4 bits and
as floating-point numbers that are whole; several equal channels are one; EXIF is not applied. A file with different channels
holds colours, not labels, and is refused, as is what a lossy compression has changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
from PIL import Image

from toolkit.data.images.by_pillow import DEEP_MODES, open_image, refuse_depth, rgb_pixels
from toolkit.data.images.checks import Encoded
from toolkit.data.images.formats import file_format
from toolkit.data.images.limits import beyond_opencv
from toolkit.data.images.sources import current_source
from toolkit.data.images.whole_files import checked_headers, fail, file_bytes

_LOSSY = {"JPEG": "a JPEG", "HEIC": "HEIC", "AVIF": "AVIF"}
"""Formats whose compression changes values, and what a message calls them."""


def read_label_map(path: str | Path) -> np.ndarray:
    """The stored values as (H, W) uint8, or uint16 when a 16-bit file holds values above 255.

    Raises DataError as `read_image` does, and for a colour picture, one with labels in its alpha channel and a JPEG.
    """
    path, source = Path(path), current_source.get()
    return decode_label_map(path, file_bytes(path)) if source is None else source.labels(path)


def decode_label_map(path: Path, data: bytes) -> np.ndarray:
    """See `read_label_map`. data: the whole file."""
    encoded = checked_headers(path, data)
    kind = "JPEG" if encoded is not None and encoded.kind == "jpeg" else file_format(data)
    if kind in _LOSSY:
        message = f"the mask is {_LOSSY[kind]}, whose compression changes values"
        fail("jpeg_mask", path, message, "make the masks PNG files")
    if _is_lossy_webp(data):
        fail(
            "jpeg_mask", path, "the mask is a lossy WebP, whose compression changes values", "make the masks PNG files"
        )
    plain = _gray_png(data, encoded)
    if plain is not None:
        return plain
    image = open_image(path, data)
    if image.mode in ("RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "LA", "PA"):
        return _gray_labels(path, image)
    if image.mode in DEEP_MODES:
        return _deep_labels(path, image)
    if image.mode not in ("P", "L", "1"):
        fail(
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
    if encoded is None or (encoded.color_type, encoded.bits) != (0, 8) or beyond_opencv(encoded) or b"tRNS" in data:
        return None
    try:
        labels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # e.g. no memory
        return None
    return labels if labels is not None and labels.shape == encoded.size and labels.dtype == np.uint8 else None


def read_color_map(path: str | Path) -> np.ndarray:
    """A colour-coded mask as (H, W, 3) uint8 RGB; palettes are expanded, gray is repeated. Raises DataError."""
    path, source = Path(path), current_source.get()
    return decode_color_map(path, file_bytes(path)) if source is None else source.colors(path)


def decode_color_map(path: Path, data: bytes) -> np.ndarray:
    """See `read_color_map`. data: the whole file."""
    checked_headers(path, data)
    image = open_image(path, data)
    if image.mode in DEEP_MODES:
        refuse_depth(path, DEEP_MODES[image.mode], image.format)
    return rgb_pixels(image)


def _is_lossy_webp(data: bytes) -> bool:
    """Whether the picture is in a chunk "VP8 " (lossy) and not in "VP8L" (RFC 9649)."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and b"VP8 " in data[12:4096] and b"VP8L" not in data[12:64]


def _deep_labels(path: Path, image: Image.Image) -> np.ndarray:
    values = np.asarray(image)
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.round(values)).all()):
        message = f"the mask ({image.format}) holds floating-point numbers that are not whole, so no class ids"
        fail("mask_kind", path, message, "save the class ids as an 8-bit gray PNG")
    if values.min() < 0 or values.max() > 65535:
        message = f"the mask holds values {values.min()}..{values.max()}; class ids are 0..254"
        fail("mask_kind", path, message, "save the class ids as an 8-bit gray PNG")
    return values.astype(np.uint8 if values.max() <= 255 else np.uint16)


def _gray_labels(path: Path, image: Image.Image) -> np.ndarray:
    """The one channel that all colour channels of a mask are equal to. Raises DataError for a mask of colours."""
    if image.mode in ("RGBA", "LA"):
        _refuse_alpha(path, image)
    pixels = rgb_pixels(image)
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
    fail("alpha_mask", path, message, f"save {kept} alone as an 8-bit gray PNG")


def _refuse_colors(path: Path, image: Image.Image, pixels: np.ndarray) -> NoReturn:
    colors = np.unique(pixels.reshape(-1, 3), axis=0)
    shown = ", ".join(str([int(v) for v in color]) for color in colors[:6])
    fail(
        "color_mask",
        path,
        f"{_found(image)}: a colour mask with {len(colors)} colours ({shown}{' ...' if len(colors) > 6 else ''})",
        "read it with data set 'image_masks' and colors: {class name: [r, g, b], ...}, or convert it to class ids",
    )


def _found(image: Image.Image) -> str:
    return f"the mask has channels {'/'.join(image.getbands())}, wanted one channel of class ids"
