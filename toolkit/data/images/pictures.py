"""What a user may call a picture (a file, an array, a PIL image, a tensor), as what a model reads of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from toolkit.data.images.by_pillow import image_pixels
from toolkit.data.images.pages import Pages
from toolkit.data.images.picture import Picture
from toolkit.data.images.picture_files import PictureList, files_of, without_doubles
from toolkit.data.images.video_sources import VideoFrames, with_videos
from toolkit.data.images.videos import Every
from toolkit.errors import DataError, Problem, UserError
from toolkit.samples import Batch

TAKEN = (
    "the path of a file or folder, a glob, an array (H, W, 3) or (H, W), a PIL image, a tensor (C, H, W) or "
    "(N, C, H, W), or a list of them"
)
"""What predictions are made of, for messages."""
ROUNDING = 0.5 / 255
"""How far floats may leave 0..1: half a gray level, what resizing and half precision add."""


OnePicture = str | os.PathLike[str] | np.ndarray | Image.Image | Tensor | Picture
Sources = OnePicture | Iterable[OnePicture]


def find_pictures(sources: Sources, pages: Pages = "first", bands: int = 0, every: Every | None = None) -> PictureList:
    """The pictures that somebody means, in the order they are named.

    Files, folders (searched recursively) and globs (`**` too) in sorted order within each source; a file named twice is
    taken once. Pictures in memory are (H, W, 3) RGB or (H, W) gray uint8, or floats 0..1 of the same shapes (rounded to
    256 levels); tensors have their channels first; arrays and tensors of one more dimension are several pictures; PIL
    images may have any mode of 8 bits and are turned as their EXIF tag says. Alpha is dropped. A video that is named, or
    that a glob matches, is its frames; videos in folders are left.

    Args:
        sources: one of those, or an iterable of them.
        pages: "all" makes a picture of each page of a file (`pages.py`), called `scan_page0002.tif` after the second;
            "first" takes the first only.
        bands: so many gray pages of a file are one picture (`bands_of_pages`); 0: each is a picture.
        every: which frames of videos are taken; None: all.

    Raises DataError listing every source that does not exist, holds no picture, or is none: another type, channels at
    the wrong end, floats that are not 0..1.
    """
    problems: list[Problem] = []
    parts: list[Sequence[Picture]] = []
    in_memory = 0
    for source in with_videos(_listed(sources), every):
        try:
            pictures = _pictures_of(source, in_memory, pages, bands)
        except UserError as error:
            problems += error.problems
            continue
        in_memory += sum(picture.path is None for picture in pictures) if isinstance(pictures, list) else 0
        parts.append(pictures)
    if problems:
        raise DataError(problems)
    return without_doubles(parts)


def _listed(sources: Any) -> list[Any]:
    if isinstance(sources, Batch):
        remedy = "model.predict(batch) takes it; here give the pictures themselves"
        raise DataError(Problem("predict", f"wanted {TAKEN}; found a Batch", remedy))
    if isinstance(sources, (str, os.PathLike, np.ndarray, Image.Image, Tensor, Picture)):
        return [sources]
    if isinstance(sources, (dict, bytes)) or not isinstance(sources, Iterable):
        raise DataError(_unknown("predict", sources))
    return list(sources)


def _unknown(where: str, found: Any) -> Problem:
    return Problem(where, f"wanted {TAKEN}; found {type(found).__name__}")


def _pictures_of(source: Any, before: int, pages: Pages, bands: int) -> Sequence[Picture]:
    """Pictures of one source. before: pictures in memory that were named before it; pages, bands: as `find_pictures`."""
    if isinstance(source, Picture):
        return [source]
    if isinstance(source, VideoFrames):
        return source
    if isinstance(source, (str, os.PathLike)):
        files = files_of(Path(source))
        return files if pages == "first" else files.by_pages(bands)
    if not isinstance(source, (np.ndarray, Image.Image, Tensor)):
        raise DataError(_unknown(f"picture {before}", source))
    each = list(source) if isinstance(source, (np.ndarray, Tensor)) and source.ndim == 4 else [source]
    named = ((f"picture_{before + place}", one) for place, one in enumerate(each))
    return [Picture(None, name, _pixels(one, name)) for name, one in named]


# --------------------------------------------------------------------------- pictures in memory


def _pixels(picture: np.ndarray | Image.Image | Tensor, name: str) -> np.ndarray:
    """(H, W, 1 or 3) uint8. Raises DataError, by `name`, for what is no picture."""
    if isinstance(picture, Image.Image):
        return image_pixels(picture, name)
    array = _channels_last(picture, name) if isinstance(picture, Tensor) else _array_of(picture, name)
    if 0 in array.shape:
        raise DataError(Problem(name, f"is empty: {tuple(picture.shape)}"))
    return _as_bytes(array[:, :, : 3 if array.shape[2] >= 3 else 1], name)


def _array_of(array: np.ndarray, name: str) -> np.ndarray:
    """(H, W, C) of an array."""
    if array.ndim == 2:
        return array[:, :, None]
    if array.ndim == 3 and array.shape[2] in (1, 2, 3, 4):  # 2 and 4: the last is alpha
        return array
    first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
    remedy = "its channels come first: give array.transpose(1, 2, 0), or a tensor" if first else ""
    raise DataError(Problem(name, f"wanted an array (H, W, 3) or (H, W), found {array.shape}", remedy))


def _channels_last(tensor: Tensor, name: str) -> np.ndarray:
    """(H, W, C) of a tensor on any device."""
    tensor = tensor.detach()
    tensor = tensor[None] if tensor.ndim == 2 else tensor
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 2, 3, 4):
        last = tensor.ndim == 3 and tensor.shape[2] in (1, 3, 4)
        remedy = "its channels come last: give tensor.permute(2, 0, 1), or an array" if last else ""
        raise DataError(
            Problem(name, f"wanted a tensor (3, H, W), (1, H, W) or (H, W), found {tuple(tensor.shape)}", remedy)
        )
    if tensor.dtype == torch.bfloat16:  # numpy has none
        tensor = tensor.float()
    return tensor.permute(1, 2, 0).cpu().numpy()


def _as_bytes(array: np.ndarray, name: str) -> np.ndarray:
    """uint8 of uint8, or of floats 0..1. Raises DataError for other numbers."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        remedy = "bring it to 0..255 and give array.astype('uint8')"
        raise DataError(Problem(name, f"wanted uint8 0..255 or floats 0..1, found {array.dtype}", remedy))
    refuse_range(float(array.min()), float(array.max()), name)
    return np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)


def refuse_range(low: float, high: float, where: str) -> None:
    """Raises DataError for floats that are no pixels 0..1; up to half a gray level beyond (`ROUNDING`) is rounding.

    Args:
        low: the smallest of the numbers; one that is no number is refused.
        high: the largest of the numbers; one that is no number is refused.
        where: what the numbers are of, for the message: "images", the picture's name.
    """
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return
    message = f"wanted uint8 pixels 0..255 or floats 0..1, found floats from {low:.4g} to {high:.4g}"
    remedy = "divide by 255" if low >= -ROUNDING and 1 < high <= 256 else ""
    if low < 0:
        remedy = "give pixels that are not normalised: the model does that by its own mean and deviation"
    raise DataError(Problem(where, message, remedy))
