"""Dense regression: images and maps of numbers, such as depth, of the same size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit.bounds import PositiveFloat, PositiveInt
from toolkit.contracts import DATASETS, Dataset
from toolkit.data.formats.pairs import existing_folder, find_pairs, name_in, read_split
from toolkit.data.images.label_maps import read_label_map
from toolkit.data.images.read import read_image
from toolkit.errors import DataError, Problem
from toolkit.samples import Sample

MAP_SUFFIXES = (".png", ".npy", ".tif", ".tiff")
"""A map is an 8- or 16-bit gray image, or an array numpy saved."""


@DATASETS.register("image_maps")
class ImageMaps(Dataset):
    """Images and maps of the same name in two folders, searched with all below them.

        ROOT/images/a.jpg   ROOT/maps/a.png (or .npy, .tif)

    value = stored number * scale. KITTI's depth in metres: `scale: 0.00390625` (1 / 256) with `unknown: 0`; millimetres
    as metres: `scale: 0.001`.

    Args:
        classes: the name of the value, [depth]; exactly one.
        root: the data set's folder, which all other paths are relative to.
        images: folder of the images, relative to root.
        maps: folder of the maps: 8- or 16-bit gray PNG or TIFF, or .npy arrays (H, W) of numbers.
        split: text file with one image name a line, relative to root; None takes every image.
        scale: what a stored 1 means in the unit of the value; above 0.
        unknown: the stored number that means "not known"; None: every number counts. NaN always means it.
        channels: how images are read: 3 for RGB, 1 for gray, or the number of their bands.

    Raises:
        DataError: with every image without map and name without image.
    """

    def __init__(
        self,
        classes: list[str],
        root: str,
        images: str = "images",
        maps: str = "maps",
        split: str | None = None,
        scale: PositiveFloat = 1.0,
        unknown: float | None = 0.0,
        channels: PositiveInt = 3,
    ) -> None:
        if len(classes) != 1:
            found = ", ".join(classes)
            raise DataError(Problem("data set 'image_maps'", f"has one value a pixel, but the classes are: {found}"))
        self.classes = tuple(classes)
        self.scale, self.unknown, self.channels = scale, unknown, channels
        self.root = existing_folder(root)
        listing = None if split is None else read_split(self.root / split)
        pairs = find_pairs(self.root / images, self.root / maps, listing, mask_kinds=MAP_SUFFIXES, called="map")
        self.pairs, self.notes = tuple(pairs), pairs.notes

    looks_at_no_pixel = True

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        _, picture, stored = self.pairs[index]
        image = read_image(picture, self.channels, self.value_range)
        values = self._values(stored)
        if values.shape != image.shape[:2]:
            message = f"the map is {values.shape} (height, width), its image {picture} is {image.shape[:2]}"
            raise DataError(Problem(stored, message))
        return Sample(image, name_in(self.root, picture), index, image.shape[:2], value_map=values)

    def _values(self, path: Path) -> np.ndarray:
        """The map as (H, W) float32 in the value's unit, NaN where unknown."""
        stored = _load_array(path) if path.suffix.lower() == ".npy" else read_label_map(path)
        values = stored.astype(np.float32) * np.float32(self.scale)
        if self.unknown is not None:
            values[stored == self.unknown] = np.nan
        if np.isinf(values).any():
            raise DataError(Problem(path, "holds infinite numbers", "write NaN where a pixel is not known"))
        return values

    def files(self, index: int) -> tuple[Path, ...]:
        """The paths of the image and of its map of values."""
        return self.pairs[index].image, self.pairs[index].mask

    def describe(self) -> str:
        """The number of images, what their maps hold, and where they are."""
        return f"{len(self)} images with maps of {self.classes[0]} in {self.root}"


def _load_array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(Problem(path, f"is no array of numpy ({error})")) from None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "fiu":
        raise DataError(Problem(path, "wanted an array (height, width) of numbers"))
    return array
