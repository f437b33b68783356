"""What a user may call a picture (a file, an array, a PIL image, a tensor), as what a model reads of it."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from toolkit.data.images.bands import ValueRange, refuse_bands
from toolkit.data.images.read import IMAGE_SUFFIXES, image_pixels, read_image, with_channels
from toolkit.errors import DataError, Problem, UserError, missing_path
from toolkit.samples import Batch, Sample

TAKEN = (
    "the path of a file or folder, a glob, an array (H, W, 3) or (H, W), a PIL image, a tensor (C, H, W) or "
    "(N, C, H, W), or a list of them"
)
"""What predictions are made of, for messages."""
ROUNDING = 0.5 / 255
"""How far floats may leave 0..1: half a gray level, what resizing and half precision add."""


class Picture(NamedTuple):
    """One picture to predict on.

    Args:
        path: of the file; None for a picture in memory.
        name: its place below the folder that was named, with `/`; `picture_3` for the fourth in memory.
        pixels: (H, W, 1 or 3) uint8 of a picture in memory, None for a file.
    """

    path: Path | None
    name: str
    pixels: np.ndarray | None = None

    def read(self, channels: int, value_range: ValueRange | None = None) -> np.ndarray:
        """(H, W, channels) uint8, RGB or gray. Raises DataError for a file that cannot be read.

        channels: of the result. value_range: the numbers in a file that become 0 and 255; None: it is of 8 bits.
        """
        if self.pixels is None:
            return read_image(self.path or self.name, channels, value_range)
        if channels not in (1, 3):
            refuse_bands(self.pixels.shape[2], channels, Path(self.name))
        return with_channels(self.pixels, channels)


OnePicture = str | os.PathLike[str] | np.ndarray | Image.Image | Tensor | Picture
Sources = OnePicture | Iterable[OnePicture]


def find_pictures(sources: Sources) -> list[Picture]:
    """The pictures that somebody means, in the order they are named.

    Files, folders (searched recursively) and globs (`**` too) in sorted order within each source; a file named twice is
    taken once. Pictures in memory are (H, W, 3) RGB or (H, W) gray uint8, or floats 0..1 of the same shapes (rounded to
    256 levels); tensors have their channels first; arrays and tensors of one more dimension are several pictures; PIL
    images may have any mode of 8 bits and are turned as their EXIF tag says. Alpha is dropped.

    Raises DataError listing every source that does not exist, holds no picture, or is none: another type, channels at
    the wrong end, floats that are not 0..1.
    """
    problems: list[Problem] = []
    files: dict[Path, None] = {}
    found: list[Picture] = []
    for source in _listed(sources):
        try:
            pictures = _pictures_of(source, sum(picture.path is None for picture in found))
        except UserError as error:
            problems += error.problems
            continue
        for picture in pictures:
            if picture.path is None:
                found.append(picture)
            elif picture.path.absolute() not in files:
                files[picture.path.absolute()] = None
                found.append(picture)
    if problems:
        raise DataError(problems)
    return found


def sample_of(picture: Picture, position: int, channels: int, value_range: ValueRange | None = None) -> Sample:
    """The picture as a sample without annotation. Raises DataError for a file that cannot be read.

    Args:
        picture: a file, or pixels in memory, as `find_pictures` gives it.
        position: its number among the pictures, from 0 on.
        channels: of the image, 3 for RGB or 1 for gray; the other kind is converted.
        value_range: the numbers in a file that become 0 and 255; None: it is of 8 bits.
    """
    image = picture.read(channels, value_range)
    return Sample(image, picture.name, position, (image.shape[0], image.shape[1]))


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


def _pictures_of(source: Any, before: int) -> list[Picture]:
    """Pictures of one source. before: pictures in memory that were named before it."""
    if isinstance(source, Picture):
        return [source]
    if isinstance(source, (str, os.PathLike)):
        return _files_of(Path(source))
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


# --------------------------------------------------------------------------- pictures on disk


def _files_of(path: Path) -> list[Picture]:
    """Pictures of a file, folder or glob. Raises DataError for one that does not exist, or holds none."""
    if path.is_dir():
        pictures = [Picture(file, file.relative_to(path).as_posix()) for file in _below(path)]
        empty = f"holds no picture ({', '.join(sorted(IMAGE_SUFFIXES))})"
    elif path.is_file():
        pictures, empty = [Picture(path, path.name)], ""
    else:
        pictures = _matching(str(path))
        empty = "matches no picture" if glob.has_magic(str(path)) else ""
    if not pictures:
        raise DataError(Problem(path, empty) if empty else missing_path("file or folder", path))
    return pictures


def _below(folder: Path) -> list[Path]:
    """The pictures below a folder; arrays of numpy where it holds no others."""
    every = [path for path in folder.rglob("*") if not path.name.startswith(".") and path.is_file()]
    pictures = [path for path in every if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(pictures or (path for path in every if path.suffix.lower() == ".npy"))


def _matching(pattern: str) -> list[Picture]:
    """Files of a glob, named below its fixed part."""
    fixed = Path(*_fixed_parts(Path(pattern).parts[:-1]))
    return [Picture(file, file.relative_to(fixed).as_posix()) for file in _globbed(pattern)]


def _globbed(pattern: str) -> Iterator[Path]:
    files = sorted(Path(file) for file in glob.glob(pattern, recursive=True))  # noqa: PTH207 - absolute patterns too
    yield from (file for file in files if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES)


def _fixed_parts(parts: Sequence[str]) -> list[str]:
    fixed = []
    for part in parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return fixed
