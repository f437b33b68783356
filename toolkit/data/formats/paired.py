"""The base of data sets in which every image has a mask file: a format only says which files belong together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from toolkit.contracts import Dataset
from toolkit.data.formats.pairs import Pair, PairList, read_pair
from toolkit.labels import ClassTable
from toolkit.samples import Sample


class PairedDataset(Dataset):
    """Images with a mask file each, read and compared in size when they are wanted.

    A new mask format is a subclass whose constructor finds the pairs (`find_pairs`) and hands them on; see `camvid.py`.

    Args:
        table: names and colours of the labels 0..K-1 (see `class_table`).
        root: the data set's folder, which names of samples are relative to.
        pairs: the image and the mask file of every sample, in the order of the data set.
        reader: makes an (H, W) uint8 label map of a mask file: a `LabelReader`, or any such function.
        channels: channels of the images as they are read, 3 for RGB or 1 for gray.
        title: what the data set is called in a description, such as "CamVid train".
    """

    def __init__(
        self,
        table: ClassTable,
        root: Path,
        pairs: Sequence[Pair],
        reader: Callable[[Path], np.ndarray],
        channels: int = 3,
        title: str = "",
    ) -> None:
        self.classes, self.palette, _ = table
        self.root, self.channels, self.title = root, channels, title
        self.pairs = tuple(pairs)
        self.notes = pairs.notes if isinstance(pairs, PairList) else ()
        self.reader = reader

    looks_at_no_pixel = True

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Reads an image and its mask. Raises DataError when either cannot be used, or their sizes differ."""
        if not 0 <= index < len(self.pairs):
            raise IndexError(index)
        return read_pair(self.pairs[index], self.root, index, self.reader, self.channels, self.value_range)

    def files(self, index: int) -> tuple[Path, ...]:
        """The paths of the image and of its mask."""
        return self.pairs[index].image, self.pairs[index].mask

    def subset(self, indices: Sequence[int]) -> PairedDataset:
        """The same kind of data set with some of the pairs."""
        part = copy.copy(self)
        part.pairs = tuple(self.pairs[index] for index in indices)
        return part

    def describe(self) -> str:
        """The number of images, where they are, and how many classes they have."""
        title = f"{self.title}: " if self.title else ""
        return f"{title}{len(self)} images with masks in {self.root}, {len(self.classes)} classes"
