"""What an image file is, told from its bytes: its true format, and what reading it has to do to its pixels."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from toolkit.data.images.by_pillow import orientation_of
from toolkit.data.images.checks import inspect_encoded
from toolkit.data.images.formats import FORMATS, file_format
from toolkit.data.images.limits import any_size
from toolkit.data.images.pages import page_places, places_of
from toolkit.data.images.tiff import tiff_bands

_PAGED = (*FORMATS["TIFF"], *FORMATS["GIF"], *FORMATS["WebP"])
"""Extensions of formats that often hold several pictures."""


def unread_pages(paths: Iterable[Path | str]) -> list[str]:
    """A sentence about files of which only the first page is read; [] when there is none."""
    paged = (Path(path) for path in paths if str(path).lower().endswith(_PAGED))
    counts = ((path, len(places_of(path)) - 1) for path in paged)
    left = [(path, count) for path, count in counts if count]
    return said_of_pages(left, "save each page as a file of its own")


def said_of_pages(left: Sequence[tuple[Path, int]], remedy: str) -> list[str]:
    """A sentence about pages that are not read; [] when there are none.

    Args:
        left: files, and how many pages of each are not read.
        remedy: what to do about it.
    """
    if not left:
        return []
    shown = [f"{count} of {count + 1} pages of {path.parent.name}/{path.name}" for path, count in left[:5]]
    more = f", and those of {len(left) - 5} more files" if len(left) > 5 else ""
    return [f"{', '.join(shown)}{more} are not used: only the first is read; {remedy}"]


def wrong_suffix(path: Path, data: bytes) -> str:
    r"""The true format of a file whose extension says another; "" for all others.

    >>> wrong_suffix(Path("a.jpg"), b"\x89PNG\r\n\x1a\n..."), wrong_suffix(Path("a.png"), b"\x89PNG\r\n\x1a\n...")
    ('PNG', '')
    """
    true = file_format(data)
    said = next((name for name, suffixes in FORMATS.items() if path.suffix.lower() in suffixes), "")
    return true if true and said and true != said else ""


def image_traits(path: Path, data: bytes) -> list[str]:
    """Words for what is uncommon about a readable image file.

    "suffix:PNG" (its true format), "exif:6" (orientation), "alpha", "palette", "cmyk", "gray" (one channel is stored),
    "frames:5".

    >>> import cv2, numpy as np
    >>> image_traits(Path("a.jpg"), cv2.imencode(".png", np.zeros((4, 6), np.uint8))[1].tobytes())
    ['suffix:PNG', 'gray']
    """
    true = wrong_suffix(path, data)
    traits = [f"suffix:{true}"] if true else []
    encoded = inspect_encoded(data)
    if encoded is None:
        return traits + (_traits_by_pillow(data) if file_format(data) and not _has_many_bands(data) else [])
    if encoded.kind == "jpeg":
        traits += [{1: "gray", 4: "cmyk"}[encoded.channels]] if encoded.channels in (1, 4) else []
        tagged = b"Exif\0\0" in data[:65536]
    else:
        traits += ["gray"] if encoded.color_type in (0, 4) else ["palette"] if encoded.color_type == 3 else []
        traits += ["alpha"] if encoded.color_type in (4, 6) or b"tRNS" in data[:4096] else []
        tagged = b"eXIf" in data
    return traits + (_orientation(data) if tagged else [])


def _has_many_bands(data: bytes) -> bool:
    """Whether a TIFF is one that Pillow does not know."""
    bands = tiff_bands(data)
    return bands is not None and (bands.number > 4 or bands.bits > 8)


def _orientation(data: bytes) -> list[str]:
    with any_size(), Image.open(io.BytesIO(data)) as image:
        return _orientation_of(image)


def _orientation_of(image: Image.Image) -> list[str]:
    orientation = orientation_of(image)
    return [f"exif:{orientation}"] if orientation in range(2, 9) else []


def _traits_by_pillow(data: bytes) -> list[str]:
    with any_size(), Image.open(io.BytesIO(data)) as image:
        mode, frames = image.mode, len(page_places(io.BytesIO(data)))
        traits = ["gray"] if mode in ("1", "L", "LA") else ["palette"] if mode in ("P", "PA") else []
        traits += ["alpha"] if mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info else []
        traits += ["cmyk"] if mode == "CMYK" else []
        traits += [f"frames:{frames}"] if frames > 1 else []
        return traits + _orientation_of(image)
