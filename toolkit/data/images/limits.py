"""How large a picture may be that is read, and what is said of one that is larger: a header of a few bytes can claim any size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from PIL import Image

from toolkit.data.faults.leaving_out import FileError
from toolkit.data.images.checks import Encoded
from toolkit.errors import ConfigError, Problem

MAX_PIXELS = 2**28
"""Pixels of the largest picture that is read, unless the environment says otherwise: 16384x16384. Reading takes about 8
bytes of memory a pixel while it lasts."""

LIMIT_VARIABLE = "TOOLKIT_MAX_PIXELS"
"""Environment variable with another limit; worker processes inherit it."""

_OPENCV_PIXELS, _OPENCV_SIDE = 2**30, 2**20
"""The largest pictures that OpenCV decodes (CV_IO_MAX_IMAGE_PIXELS, _WIDTH and _HEIGHT); larger ones take Pillow."""

_lock = Lock()
_inside: list[int | None] = []
"""Pillow's limit as each of those found it that are inside `any_size` now."""


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
    """Inside, Pillow opens pictures of any size without a word: the limit here is `pixel_limit`, and says so itself.

    Pillow's own limit is one number of the process: it comes back when the last of several threads leaves.
    """
    with _lock:
        _inside.append(Image.MAX_IMAGE_PIXELS)
        Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        with _lock:
            first = _inside[0]
            _inside.pop()
            if not _inside:
                Image.MAX_IMAGE_PIXELS = first


def refuse_size(path: Path, size: tuple[int, int]) -> None:
    """Raises DataError for more pixels than `pixel_limit()`. path: for the message. size: (height, width) in pixels."""
    limit = pixel_limit()
    if size[0] * size[1] > limit:
        message = f"claims {size[1]}x{size[0]} = {size[0] * size[1]:,} pixels; more than {limit:,} are not read"
        remedy = (
            f"predict --format geotiff reads it by window; or cut it into pieces; or, if it is what it claims and memory allows "
            f"(8 bytes a pixel), set {LIMIT_VARIABLE}"
        )
        raise FileError("too_large", Problem(path, message, remedy))


def beyond_opencv(encoded: Encoded) -> bool:
    """Whether a picture is too large for OpenCV's decoders."""
    height, width = encoded.size
    return height * width > _OPENCV_PIXELS or max(height, width) > _OPENCV_SIDE
