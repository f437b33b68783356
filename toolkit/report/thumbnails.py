"""Small pictures of files that may be anything: photographs, label maps, damaged files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from toolkit.data.images.formats import IMAGE_SUFFIXES
from toolkit.drawing import draw_boxes, full_palette
from toolkit.report.page import picture_data

SIDE = 240
"""Pixels of a thumbnail's longer side, at most."""
_LARGEST_FILE = 256 * 2**20
_MOST_PIXELS = 120_000_000
_MOST_LABELS = 48
"""A gray file with no more values than this is taken for a label map, and its values are coloured."""
_FEW = 4
"""Boxes at fault up to this number get their words and a thick line."""
_STRONG, _WEAK = (255, 40, 40), (255, 255, 255)


class Mark(NamedTuple):
    """A box to draw.

    Args:
        xyxy: (x1, y1, x2, y2) in the file's pixels, the last two exclusive.
        text: a word for it, or "".
        strong: whether it is the one at fault.
    """

    xyxy: tuple[float, float, float, float]
    text: str
    strong: bool = True


class Thumbnail(NamedTuple):
    """A small picture of a file, or the reason why there is none.

    A small picture of a file, or the reason why there is none.

    Args:
        path: path of the file, as it was given.
        name: name of the file, without its folders.
        data: the picture as a data URI, or None with the reason.
        reason: why there is no picture, in words.
        size: "480×360" (width × height) of the file's picture, or "".
    """

    path: str
    name: str
    data: str | None
    reason: str = ""
    size: str = ""


def thumbnail(path: str, palette: Sequence[tuple[int, int, int]] = (), marks: Sequence[Mark] = ()) -> Thumbnail:
    """A picture of a file, as far as it can be read; never raises for what the file holds.

    What a damaged JPEG still gives is shown.

    Args:
        path: path of a file, or of anything else that is then named.
        palette: colours of label maps' values, (r, g, b) each 0..255.
        marks: boxes to draw over it, in its pixels.
    """
    file = Path(path)
    name = file.name or path
    try:
        if not file.exists():
            return Thumbnail(path, name, None, "there is no such file")
        if not file.is_file():
            return Thumbnail(path, name, None, "is a folder")
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            return Thumbnail(path, name, None, f"{file.suffix or 'no extension'}: not an image file")
        if file.stat().st_size > _LARGEST_FILE:
            return Thumbnail(path, name, None, "too large for a thumbnail")
        return _read(path, name, file.read_bytes(), palette, marks)
    except UnidentifiedImageError:
        return Thumbnail(path, name, None, "is not an image, whatever its name says")
    except Image.DecompressionBombError:  # a limit, no damage: the file may be sound
        return Thumbnail(path, name, None, "too many pixels for a thumbnail")
    except OSError as error:
        reason = (
            f"cannot be read: {error.strerror}"
            if error.strerror
            else "is truncated or damaged: nothing of it can be decoded"
        )
        return Thumbnail(path, name, None, reason)
    except Exception as error:  # whatever a broken file makes a decoder do, the page is written
        return Thumbnail(path, name, None, f"cannot be decoded: {type(error).__name__}")


def _read(
    path: str, name: str, data: bytes, palette: Sequence[tuple[int, int, int]], marks: Sequence[Mark]
) -> Thumbnail:
    if not data:
        return Thumbnail(path, name, None, "is empty (0 bytes)")
    labels = _label_values(data)
    if labels is not None:
        drawn, exact = full_palette(palette, len(palette) or 255)[labels], True
    else:
        drawn, exact = _picture(data), False
    height, width = drawn.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(drawn, size, interpolation=cv2.INTER_NEAREST if exact else cv2.INTER_AREA)
    if marks:
        small = _marked(small, [mark for mark in marks if not mark.strong], scale, _WEAK)
        strong = [mark for mark in marks if mark.strong]
        boxes = np.array([mark.xyxy for mark in strong], np.float64).reshape(-1, 4) * scale
        few = len(strong) <= _FEW
        small = (
            draw_boxes(small, boxes, [_STRONG] * len(strong), _texts(strong))
            if few
            else _marked(small, strong, scale, _STRONG)
        )
    return Thumbnail(path, name, picture_data(small, exact=exact), "", f"{width}×{height}")


def _texts(marks: Sequence[Mark]) -> list[str] | None:
    return [mark.text for mark in marks] if any(mark.text for mark in marks) else None


def _marked(picture: np.ndarray, marks: Sequence[Mark], scale: float, color: tuple[int, int, int]) -> np.ndarray:
    """Boxes as lines of a pixel, without words."""
    canvas = np.ascontiguousarray(picture)
    for mark in marks:
        left, top, right, bottom = (round(edge * scale) for edge in mark.xyxy)
        cv2.rectangle(canvas, (left, top), (max(right - 1, left), max(bottom - 1, top)), color, 1)
    return canvas


def _picture(data: bytes) -> np.ndarray:
    """(H, W, 3) uint8, upright. A JPEG that breaks off gets an end, so that what it holds is seen."""
    ended = data + b"\xff\xd9" if data[:2] == b"\xff\xd8" else data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(ended)) as image:
            if image.size[0] * image.size[1] > _MOST_PIXELS:
                raise Image.DecompressionBombError
            if image.mode in ("I", "F") or image.mode.startswith("I;16"):
                return _stretched(np.asarray(image, np.float64))
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _stretched(values: np.ndarray) -> np.ndarray:
    """Deep gray from its smallest to its largest value, as RGB."""
    finite = np.nan_to_num(values, posinf=0, neginf=0)
    low, high = float(finite.min()), float(finite.max())
    gray = ((finite - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
    return np.repeat(gray[:, :, None], 3, axis=2)


def _label_values(data: bytes) -> np.ndarray | None:
    """(H, W) uint8 when the file looks like a label map: a palette or gray PNG, GIF, BMP or TIFF with few values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data)) as image:
                if image.mode not in ("P", "L", "1") or image.format == "JPEG":
                    return None
                if image.size[0] * image.size[1] > _MOST_PIXELS:
                    return None
                values = np.asarray(image).astype(np.uint8)
        except Exception:  # a damaged file: the other decoder may still show a part of it
            return None
    return values if len(np.unique(values)) <= _MOST_LABELS else None
