"""Images and label maps in the pages of two files, as microscopes and the ISBI challenge of 2012 give them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from toolkit.contracts import DATASETS, Dataset
from toolkit.data.classes.tables import class_table
from toolkit.data.formats.label_values import label_reader
from toolkit.data.formats.pairs import existing_folder
from toolkit.data.images.bands import with_channels
from toolkit.data.images.by_pillow import image_pixels
from toolkit.errors import DataError, Problem, missing_path
from toolkit.samples import Sample


@DATASETS.register("image_stacks")
class ImageStacks(Dataset):
    """Pages of TIFF files: page n of the images belongs to page n of the masks. Pages are numbered from 1 in names.

        ROOT/train-volume.tif   ROOT/train-labels.tif   (images: train-volume.tif, masks: train-labels.tif)

    Args:
        classes: names of the labels 0..K-1, in the order of the class ids.
        root: the data set's folder, which all other paths are relative to.
        images: the file of the images, a page each; neighbours of a stack look alike, so give whole stacks to splits
            where there are several.
        masks: the file of the label maps, with as many pages.
        label_values: what the values in the masks mean, {0: 0, 255: 1}, see `image_masks`; None: they are class ids.
        channels: how images are read: 1 for gray, 3 for RGB.

    Raises:
        DataError: for a file that is missing or no picture, and files with other numbers or sizes of pages.
    """

    def __init__(
        self,
        classes: list[str],
        root: str,
        images: str,
        masks: str,
        label_values: dict[int | str, int | Literal["ignore"]] | None = None,
        channels: Literal[1, 3] = 1,
    ) -> None:
        self.classes, self.palette, _ = class_table(classes)
        self.root, self.channels = existing_folder(root), channels
        self.images, self.masks = self.root / images, self.root / masks
        self.reader = label_reader(self.classes, label_values)
        sizes = _page_sizes(self.images)
        others = _page_sizes(self.masks)
        if len(sizes) != len(others):
            message = f"has {len(others)} pages, {self.images} has {len(sizes)}"
            raise DataError(Problem(self.masks, message, "a page of labels belongs to each page of the images"))
        wrong = next((page for page, pair in enumerate(zip(sizes, others, strict=True)) if pair[0] != pair[1]), None)
        if wrong is not None:
            message = f"page {wrong + 1} is {others[wrong]}, that of {self.images} {sizes[wrong]} (height, width)"
            raise DataError(Problem(self.masks, message))
        self.pages = np.arange(len(sizes))
        self._sizes = np.array(sizes, np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self.pages)

    def __getitem__(self, index: int) -> Sample:
        """Reads a page of both files. Raises DataError for one that cannot be read, or holds unknown values."""
        if not 0 <= index < len(self.pages):
            raise IndexError(index)
        page = int(self.pages[index])
        image = with_channels(_page(self.images, page, keep=False), self.channels)
        labels = self.reader.labels_of(_page(self.masks, page, keep=True), self.masks)
        name = f"{self.images.name} page {page + 1}"
        return Sample(image, name, index, image.shape[:2], label_map=labels)

    def image_sizes(self) -> np.ndarray:
        """(N, 2) height and width of each page."""
        return self._sizes[self.pages]

    def subset(self, indices: Sequence[int]) -> ImageStacks:
        """The same with some of the pages."""
        part = copy.copy(self)
        part.pages = self.pages[np.asarray(indices, np.int64)]
        return part

    def describe(self) -> str:
        """How many pages there are, and in which files."""
        return f"{len(self)} pages of {self.images} with labels in {self.masks.name}, {len(self.classes)} classes"


def _page_sizes(path: Path) -> list[tuple[int, int]]:
    """(height, width) of every page."""
    if not path.is_file():
        raise DataError(missing_path("file", path))
    try:
        with Image.open(path) as image:
            sizes = []
            for page in range(getattr(image, "n_frames", 1)):
                image.seek(page)
                sizes.append((image.height, image.width))
            return sizes
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(Problem(path, f"cannot be read: {error}", "a TIFF with several pages is wanted")) from None


def _page(path: Path, page: int, *, keep: bool) -> np.ndarray:
    """The pixels of a page: as they are stored (labels), or as 8-bit gray or RGB."""
    try:
        with Image.open(path) as image:
            image.seek(page)
            if not keep:
                return image_pixels(image, path)
            stored = np.asarray(image)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(Problem(path, f"page {page + 1} cannot be read: {error}")) from None
    if stored.ndim != 2 or stored.min() < 0 or stored.max() > 65535 or (stored % 1).any():
        message = f"page {page + 1} holds no class ids: {stored.dtype} of shape {stored.shape}"
        raise DataError(Problem(path, message, "one channel of whole numbers 0..65535 is wanted"))
    return stored.astype(np.uint8 if stored.max() < 256 else np.uint16)
