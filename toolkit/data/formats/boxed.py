"""The base of data sets whose boxes are all known before an image is opened: a format only reads its files."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.contracts import Dataset
from toolkit.data.formats.detection_index import DetectionIndex
from toolkit.data.images.traits import unread_pages
from toolkit.samples import Boxes, Sample


class BoxDataset(Dataset):
    """Images with boxes. `index` holds the boxes of all images, checked and packed.

    A new box format is a subclass whose constructor reads its files to `ImageBoxes` and makes an index of them with
    `index_boxes`; see `yolo.py`.

    Args:
        classes: names of the labels 0..K-1 that the index's boxes have.
        root: the data set's folder, which the names in the index are relative to.
        index: images and boxes of the whole data set, see `DetectionIndex`.
        category_ids: the number the files use for each label, to be used again in results.
    """

    index: DetectionIndex

    def __init__(
        self, classes: Sequence[str], root: Path, index: DetectionIndex, category_ids: Sequence[int] = ()
    ) -> None:
        self.classes, self.root, self.index = tuple(classes), root, index
        self.notes = (*index.notes, *unread_pages(self.image_files()))
        self.category_ids = tuple(category_ids) or tuple(range(len(self.classes)))

    looks_at_no_pixel = True

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> Sample:
        """Reads an image and gives it its boxes. Raises DataError when its size is not the annotated one."""
        return self.index.sample(index, self.root, self.channels, self.value_range)

    def boxes_of(self, index: int) -> Boxes | None:
        """The boxes of an image, without opening it where the annotation says its size."""
        height, width = self.index.sizes[index].tolist()
        return self.index.boxes(index, (height, width)) if height and width else super().boxes_of(index)

    def files(self, index: int) -> tuple[Path, ...]:
        """The image, and the file its boxes were read from where it has one."""
        image, annotation = self.root / self.index.names[index], self.index.annotation(index)
        return (image, Path(annotation)) if annotation else (image,)

    def image_files(self) -> list[str]:
        """The image of every sample, which for a million of them is made of text, not of paths."""
        folder = str(self.root / "_")[:-1]
        return [os.path.join(folder, name) for name in self.index.names]  # noqa: PTH118

    def annotation_of(self, index: int) -> bytes:
        """Boxes and class names of an image; see `Dataset`."""
        return self.index.said_of(index, self.classes)

    def image_sizes(self) -> np.ndarray:
        """(N, 2) height and width of each image as the annotation says, 0 where it does not."""
        return self.index.sizes

    def subset(self, indices: Sequence[int]) -> BoxDataset:
        """The same kind of data set with some of the images and their boxes."""
        part = copy.copy(self)
        part.index = self.index.subset(np.asarray(indices, np.int64))
        return part

    def with_classes(self, names: Sequence[str], labels: np.ndarray) -> BoxDataset:
        """The same images with the boxes of other classes; ids are those of the first of several, unused ones for none."""
        made = copy.copy(self)
        made.classes, made.palette = tuple(names), ()
        made.index = self.index.relabelled(labels, len(names))
        firsts = [np.flatnonzero(labels == label)[:1].tolist() for label in range(len(names))]
        first_free = 1 + max(self.category_ids, default=0)
        made.category_ids = tuple(
            self.category_ids[first[0]] if first else first_free + place for place, first in enumerate(firsts)
        )
        return made

    def describe(self) -> str:
        """Counts, mended boxes, and a table of id in the files, label, name and number of boxes of each class."""
        return self.index.describe(self.classes, self.category_ids)
