"""Any data set with other classes, changed sample by sample when they are read."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.contracts import LEFT_OUT, Dataset
from toolkit.errors import DataError, Problem
from toolkit.labels import IGNORE_INDEX, default_palette
from toolkit.samples import Sample


def with_classes(dataset: Dataset, names: Sequence[str], labels: np.ndarray) -> Dataset:
    """The same samples with other classes, in the data set's own way where it has one.

    Args:
        dataset: the data set with its own classes.
        names: names of the new labels 0..K-1.
        labels: (number of its classes,) int64 new label of each of its own, see `Dataset.with_classes`.
    """
    made = dataset.with_classes(names, labels)
    return made if made is not None else Relabelled(dataset, names, labels)


class Relabelled(Dataset):
    """The samples of a data set with other labels: in label maps, boxes, and of whole images.

    Args:
        whole: the data set that is asked for each sample when it is wanted.
        names: names of the new labels 0..K-1.
        labels: (number of its classes,) int64 new label of each old one, see `Dataset.with_classes`.
    """

    def __init__(self, whole: Dataset, names: Sequence[str], labels: np.ndarray) -> None:
        self.whole, self.classes, self.labels = whole, tuple(names), np.asarray(labels, np.int64)
        self.root, self.channels, self.value_range = whole.root, whole.channels, whole.value_range
        self.skips, self.notes, self.annotated = whole.skips, whole.notes, whole.annotated
        self.repeats = whole.repeats
        firsts = [np.flatnonzero(self.labels == label)[:1].tolist() for label in range(len(self.classes))]
        self.palette = default_palette(len(self.classes))
        if whole.palette and all(firsts):
            self.palette = tuple(whole.palette[first[0]] for first in firsts)
        if whole.category_ids and all(firsts):
            self.category_ids = tuple(whole.category_ids[first[0]] for first in firsts)
        self._table = np.full(256, IGNORE_INDEX, np.uint8)
        self._table[: len(self.labels)] = np.where(self.labels == LEFT_OUT, IGNORE_INDEX, self.labels)

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: int) -> Sample:
        """Reads a sample. Raises DataError for an image whose own class, of the whole image, is none of the new ones."""
        sample = self.whole[index]
        if sample.label_map is not None:
            sample = sample._replace(label_map=np.take(self._table, sample.label_map))
        if sample.boxes is not None:
            sample = sample._replace(boxes=sample.boxes.relabelled(self.labels, len(self.classes)))
        if sample.image_label is not None:
            label = int(self.labels[sample.image_label])
            if not 0 <= label < len(self.classes):
                message = f"is of class '{self.whole.classes[sample.image_label]}', which is not chosen"
                raise DataError(Problem(sample.name, message, "take it out of the data"))
            sample = sample._replace(image_label=label)
        return sample

    def set_reading(
        self, channels: int | None, value_range: Sequence[float] | Sequence[Sequence[float]] | None
    ) -> None:
        """Says it of the whole data set."""
        self.whole.set_reading(channels, value_range)
        super().set_reading(channels, value_range)

    def describe(self) -> str:
        """The whole data set's words, and what its classes have become."""
        pairs = zip(self.whole.classes, self.labels.tolist(), strict=True)
        said = {LEFT_OUT: "left out", IGNORE_INDEX: "does not count"}
        told = ", ".join(f"{old} -> {said.get(new) or self.classes[new]}" for old, new in pairs)
        return f"{self.whole.describe()}\nclasses chosen: {told}"

    def subset(self, indices: Sequence[int]) -> Relabelled:
        """The chosen classes of some of the samples."""
        part = copy.copy(self)
        part.whole = self.whole.subset(indices)
        part.repeats = part.whole.repeats
        return part

    def image_sizes(self) -> np.ndarray | None:
        """Those of the whole data set."""
        return self.whole.image_sizes()

    def files(self, index: int) -> tuple[Path, ...]:
        """Those of the sample in the whole data set."""
        return self.whole.files(index)

    def annotation_of(self, index: int) -> bytes:
        """What the whole data set says of the sample's annotation."""
        return self.whole.annotation_of(index)

    def hands_images_on(self) -> bool:
        """Whether the whole data set does."""
        return self.whole.hands_images_on()
