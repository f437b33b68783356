"""Pictures of many bands, of 16 bits and of floating-point numbers, brought to bytes by a range that the config states.

The rule: a stored number v becomes round(255 (v - low) / (high - low)), cut at 0 and 255, the same in training,
evaluation and prediction; so 256 levels between low and high are told apart. Files are TIFF, PNG, and arrays that numpy
saved (.npy), (H, W), (H, W, bands) or (bands, H, W).
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from toolkit.data.faults.leaving_out import FileError
from toolkit.data.images.tiff import tiff_bands, tiff_pages
from toolkit.errors import ConfigError, Problem

_DARKEST = 0.25
"""Share of white that the largest byte has to reach."""

ValueRange = Sequence[float] | Sequence[Sequence[float]]
"""[low, high] of all bands, or one such pair for each band: the stored numbers that become 0 and 255."""


def stored_bands(path: Path, data: bytes, channels: int) -> np.ndarray:
    """(H, W, bands) of the numbers that a file stores, colours in the order red, green, blue.

    Raises DataError for a file that cannot be read, holds no numbers, or is a TIFF that needs tifffile.

    Args:
        path: the file, by whose extension arrays of numpy are known.
        data: the bytes of the file.
        channels: number of bands that are wanted, which tells where the bands of an array or of pages stand.
    """
    if path.suffix.lower() == ".npy":
        stored = _array(path, data)
    elif tiff_bands(data) is not None:
        stored = _tiff(path, data, channels)
    else:
        stored = _decoded(path, data)
    if stored.ndim == 2:
        stored = stored[:, :, None]
    if stored.ndim == 3 and stored.shape[0] == channels != stored.shape[2]:
        stored = np.moveaxis(stored, 0, 2)
    if stored.ndim != 3 or stored.dtype.kind not in "buif" or 0 in stored.shape:
        message = f"holds {stored.dtype} numbers of shape {stored.shape}"
        remedy = "wanted (height, width), (height, width, bands) or (bands, height, width) of whole or floating-point numbers"
        raise FileError("deep", Problem(path, message, remedy))
    return stored


def to_bytes(stored: np.ndarray, value_range: ValueRange, path: Path) -> np.ndarray:
    """(H, W, bands) uint8 by the rule above. Raises DataError for numbers that are not finite.

    Args:
        stored: (H, W, bands) numbers as the file holds them.
        value_range: the numbers that become 0 and 255, of all bands or of each.
        path: the file they are of, for messages.

    >>> to_bytes(np.array([[[0], [500], [1000], [4000]]], np.uint16), [0, 1000], Path("a")).ravel().tolist()
    [0, 128, 255, 255]
    """
    low, high = _limits(value_range, stored.shape[2])
    numbers = stored.astype(np.float64)
    if not np.isfinite(numbers).all():
        count = int((~np.isfinite(numbers)).sum())
        message = f"holds {count} numbers that are not finite"
        raise FileError(
            "not_finite", Problem(path, message, "write a number there, such as the lower one of the range")
        )
    return np.rint(np.clip((numbers - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def reads_bands(channels: int, value_range: ValueRange | None) -> bool:
    """Whether files are read as stored numbers, and not as gray or RGB of 8 bits.

    Args:
        channels: number of channels or bands that are wanted.
        value_range: the stored numbers that become 0 and 255; None: files are of 8 bits.
    """
    return value_range is not None or channels not in (1, 3)


def as_bytes(stored: np.ndarray, path: Path, channels: int, value_range: ValueRange | None) -> np.ndarray:
    """(H, W, channels) uint8 of what a file stores. Raises DataError for numbers that are no bytes, and other bands.

    Args:
        stored: (H, W, bands) numbers as the file holds them.
        path: the file they are from, named in messages.
        channels: number of channels or bands that are wanted.
        value_range: the stored numbers that become 0 and 255; None: they are bytes.
    """
    if value_range is None:
        refuse_unscaled(stored, path)
        pixels = stored.astype(np.uint8, copy=False)
    else:
        _refuse_black(stored, value_range, path)
        pixels = to_bytes(stored, value_range, path)
    if {pixels.shape[2], channels} != {1, 3}:
        refuse_bands(pixels.shape[2], channels, path)
    return np.ascontiguousarray(with_channels(pixels, channels))


def _refuse_black(stored: np.ndarray, value_range: ValueRange, path: Path) -> None:
    """Raises DataError for bytes under a range of deeper files, in which not even 255 reaches a quarter of white."""
    low, high = _limits(value_range, stored.shape[2])
    if stored.dtype == np.uint8 and ((255 - low) / (high - low) < _DARKEST).all():
        span = ", ".join(f"{one:g} to {other:g}" for one, other in dict.fromkeys(zip(low, high, strict=True)))
        message = f"holds 8 bits a channel, which data.value_range ({span}) makes nearly black"
        remedy = "give the file of more bits that it was made from, or multiply its numbers"
        raise FileError("shallow", Problem(path, message, remedy))


def with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """(H, W, channels) of (H, W, 1 or 3) uint8: gray repeated, or colour weighted to luma (ITU-R BT.601).

    The weights are OpenCV's, not Pillow's integer ones, so that one picture is the same in every format.
    """
    if pixels.shape[2] == channels:
        return pixels
    if channels == 1:
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)[:, :, None]
    return np.repeat(pixels[:, :, :1], channels, axis=2)


def refuse_value_range(value_range: ValueRange | None, where: str = "data.value_range") -> None:
    """Raises ConfigError for what is no [low, high] with low below high, or a list of those. where: for the message."""
    if value_range is None:
        return
    pairs = np.array(value_range, np.float64) if _is_even(value_range) else np.zeros(0)
    pairs = pairs[None] if pairs.ndim == 1 else pairs
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.isfinite(pairs).all() or not (pairs[:, 0] < pairs[:, 1]).all():
        message = f"is {value_range}, wanted [low, high] with low below high, or one such pair for each band"
        raise ConfigError(Problem(where, message, "such as [0, 4095] for 12 bits, [0, 1] for fractions"))


def _is_even(value_range: ValueRange) -> bool:
    return len({len(one) if isinstance(one, (list, tuple)) else -1 for one in value_range}) == 1


def _limits(value_range: ValueRange, bands: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.atleast_2d(np.array(value_range, np.float64))
    if len(pairs) not in (1, bands):
        message = f"has {len(pairs)} pairs, the picture {bands} bands"
        raise ConfigError(Problem("data.value_range", message, "give one pair, or one for each band"))
    return pairs[:, 0], pairs[:, 1]


def refuse_unscaled(stored: np.ndarray, path: Path) -> None:
    """Raises DataError for numbers that are not bytes: which of them is black and which white has to be said."""
    if stored.dtype in (np.uint8, np.bool_):
        return
    finite = stored[np.isfinite(stored)] if stored.dtype.kind == "f" else stored
    span = f"{finite.min():g} to {finite.max():g}" if finite.size else "nothing finite"
    message = f"wanted 8 bits a channel, found {stored.dtype} from {span}"
    remedy = "say which numbers are black and white, data.value_range=[low,high]"
    raise FileError("deep", Problem(path, message, f"{remedy}; or convert it to 8 bits"))


def refuse_bands(found: int, wanted: int, path: Path) -> None:
    """Raises DataError for another number of bands than is wanted.

    Args:
        found: number of bands that the file holds.
        wanted: number of bands that the config asks for, `data.channels`.
        path: the file they are of, for messages.
    """
    if found != wanted:
        remedy = f"set data.channels: {found} and in_channels of the backbone, or take the bands out of the files"
        raise FileError("bands", Problem(path, f"holds {found} bands, wanted {wanted}", remedy))


def _array(path: Path, data: bytes) -> np.ndarray:
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileError("damaged", Problem(path, f"is no array of numpy ({error})", "save it again")) from None
    return np.asarray(array)


def _decoded(path: Path, data: bytes) -> np.ndarray:
    """What OpenCV decodes, colours turned to red, green, blue."""
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        decoded = None
    if decoded is None:
        raise FileError("damaged", Problem(path, "cannot be decoded", "open and save it again, or fetch it again"))
    colors = decoded.ndim == 3 and decoded.shape[2] in (3, 4)
    return decoded[:, :, [2, 1, 0, 3][: decoded.shape[2]]] if colors else decoded


def _tiff(path: Path, data: bytes, bands: int) -> np.ndarray:
    """All bands of a TIFF's first page, or of so many gray pages: gray or RGB by OpenCV, everything else by tifffile."""
    known = tiff_bands(data)
    pages, alone = tiff_pages(io.BytesIO(data)), len(tiff_pages(io.BytesIO(data), bands)) == 1
    by_opencv = known is not None and known.number in (1, 3) and not (known.number == 3 and known.planar)
    if by_opencv and (len(pages) == 1 or not alone):
        return _decoded(path, data)
    tifffile = tifffile_for(path, data)
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            if len(pages) > 1 and alone:
                return np.stack([file.pages[place].asarray() for place in pages], -1)
            if known is not None and known.planar:
                return np.moveaxis(file.pages[pages[0]].asarray(), 0, 2)
            # one directory may stand for several pages (ImageJ)
            return np.asarray(file.asarray() if len(pages) == 1 else file.pages[pages[0]].asarray())
    except Exception as error:  # tifffile raises many kinds for a damaged file
        raise FileError(
            "damaged", Problem(path, f"cannot be decoded ({error})", "fetch it again, or save it as .npy")
        ) from None


def tifffile_for(path: Path, data: bytes) -> Any:
    """The package tifffile. Raises DataError without it.

    Args:
        path: the file that wants it, for the message.
        data: its first bytes at least.
    """
    try:
        return importlib.import_module("tifffile")
    except ImportError:
        known = tiff_bands(data)
        message = f"is a TIFF of {known.describe() if known is not None else 'many bands'}, which tifffile reads"
        remedy = "pip install 'toolkit-dense[tiff]', or save it as .npy"
        raise FileError("deep", Problem(path, message, remedy)) from None
