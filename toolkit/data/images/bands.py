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

import cv2
import numpy as np
from PIL import Image

from toolkit.data.faults.leaving_out import FileError
from toolkit.data.images.checks import tiff_bands
from toolkit.errors import ConfigError, Problem

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
        stored = _tiff(path, data)
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
    remedy = "say which numbers are black and white: data.value_range: [low, high]"
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


def _pages(data: bytes) -> int:
    """How many pages Pillow sees in a TIFF; 1 where it does not know the file."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return int(getattr(image, "n_frames", 1))
    except Exception:  # Pillow raises many kinds for a file that it does not know
        return 1


def _tiff(path: Path, data: bytes) -> np.ndarray:
    """All bands of a TIFF: gray or RGB and one page by OpenCV, everything else by tifffile."""
    known = tiff_bands(data)
    if known is not None and known.number in (1, 3) and _pages(data) == 1:
        return _decoded(path, data)
    try:
        tifffile = importlib.import_module("tifffile")
    except ImportError:
        found = known.describe() if known is not None else "many bands"
        message = f"is a TIFF of {found}, which tifffile reads"
        raise FileError(
            "deep", Problem(path, message, "pip install 'toolkit-dense[tiff]', or save it as .npy")
        ) from None
    try:
        return np.asarray(tifffile.imread(io.BytesIO(data)))
    except Exception as error:  # tifffile raises many kinds for a damaged file
        raise FileError(
            "damaged", Problem(path, f"cannot be decoded ({error})", "fetch it again, or save it as .npy")
        ) from None
