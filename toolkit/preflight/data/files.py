"""Which files the samples of a data set come from, and how large their images are, without decoding a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from toolkit.contracts import Dataset
from toolkit.data.images.formats import FORMATS
from toolkit.data.images.limits import any_size
from toolkit.data.images.read import exif_orientation, image_size

_TURNED = 5
"""EXIF orientations from here on exchange height and width."""


def image_path(dataset: Dataset, position: int) -> Path | None:
    """The image file of a sample; None for a data set that does not show its files."""
    files = dataset.files(position)
    return files[0] if files else None


def stored_sizes(dataset: Dataset, limit: int = 400) -> dict[int, tuple[int, int]]:
    """(height, width) of images by position: of all when the annotation says, else read from at most `limit` headers.

    An image that cannot be read is left out.
    """
    known = dataset.image_sizes()
    if known is not None and len(known) == len(dataset) and np.all(known):
        return {position: (int(height), int(width)) for position, (height, width) in enumerate(known.tolist())}
    sizes = {}
    for position in spread(len(dataset), limit):
        size = _header_size(image_path(dataset, position))
        if size is not None:
            sizes[position] = size
    return sizes


def spread(count: int, limit: int) -> list[int]:
    """At most `limit` of the positions 0..count-1, evenly spread.

    >>> spread(10, 4)
    [0, 3, 6, 9]
    """
    return sorted({int(position) for position in np.linspace(0, count - 1, min(count, limit)).round()}) if count else []


def _header_size(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        if path.suffix.lower() in FORMATS["HEIC"]:
            return image_size(path)
        with any_size(), Image.open(path) as image:
            width, height = image.size
        turned = path.suffix.lower() in (".jpg", ".jpeg", ".tif", ".tiff") and exif_orientation(path) >= _TURNED
    except Exception:  # PIL raises many kinds for a damaged header; reading the sample says what is wrong
        return None
    return (width, height) if turned else (height, width)
