"""One sample from an image and its mask: read, compared in size, named."""

from __future__ import annotations

from pathlib import Path

from toolkit.data.file_error import FileError
from toolkit.data.images import exif_orientation, read_image
from toolkit.data.label_values import LabelReader
from toolkit.data.pairs import Pair
from toolkit.errors import Problem
from toolkit.samples import Sample


def read_pair(pair: Pair, root: Path, position: int, reader: LabelReader, channels: int = 3) -> Sample:
    """Image and label map of a pair. Raises DataError when either is unreadable or their sizes differ."""
    image = read_image(pair.image, channels)
    labels = reader(pair.mask)
    if labels.shape != image.shape[:2]:
        raise _sizes_differ(pair, image.shape[:2], labels.shape[:2])
    return Sample(image, name_in(root, pair.image), position, image.shape[:2], label_map=labels)


def name_in(root: Path, path: Path) -> str:
    """The path relative to the root with `/`; the path itself when it lies elsewhere."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix()


def _sizes_differ(pair: Pair, image: tuple[int, ...], mask: tuple[int, ...]) -> FileError:
    message = f"the mask is {mask[0]}x{mask[1]} (height x width), its image {pair.image} is {image[0]}x{image[1]}"
    if mask == image[::-1] and exif_orientation(pair.image) > 4:
        remedy = "the image's EXIF tag turns it and the mask was drawn on the unturned picture; save it without the tag"
        return FileError("mask_size_exif", Problem(str(pair.mask), message, remedy))
    remedy = "wrong pair, or one of them was resized; resize masks with nearest neighbour"
    return FileError("mask_size", Problem(str(pair.mask), message, remedy))
