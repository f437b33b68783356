"""Several data sets as one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.bounds import PositiveFloat
from toolkit.contracts import DATASETS, LEFT_OUT, Dataset
from toolkit.data.classes.choice import by_name
from toolkit.data.classes.relabelled import with_classes
from toolkit.data.formats.pairs import name_in
from toolkit.errors import ConfigError, DataError, Problem, listed
from toolkit.samples import Sample


@DATASETS.register("joined")
class Joined(Dataset):
    """The samples of several data sets, one after the other, with the classes of all of them joined by name.

    A sample's name is its path from the folder that all have in common. Ids of images are the files' own where no two
    data sets use the same ones, else they are left out; ids of categories are kept where all agree.

        {name: joined, datasets: [{name: coco, root: a, ...}, {name: yolo, root: b}], weights: [1, 3]}

    Args:
        datasets: the data sets, each with arguments of its own; classes that another lacks are joined by name.
        weights: how much of the drawn samples each data set is, as numbers in proportion to one another; null draws
            every sample once an epoch. Draws are a function of seed and step; the smallest share is drawn in full.
        classes: names in label order, to be found in one of the data sets; null: those of all, in the order in which
            they are first named.

    Raises:
        DataError: for data sets that name different classes than `classes`, or of different channels or annotations.
    """

    def __init__(
        self, datasets: list[Dataset], weights: list[PositiveFloat] | None = None, classes: list[str] | None = None
    ) -> None:
        if not datasets:
            raise ConfigError(Problem("datasets", "names no data set", "wanted a list of one or more"))
        if weights is not None and len(weights) != len(datasets):
            message = f"{len(weights)} weights for {len(datasets)} data sets"
            raise ConfigError(Problem("weights", message, "give one number for each data set"))
        channels = sorted({dataset.channels for dataset in datasets})
        if len(channels) > 1:
            raise ConfigError(Problem("datasets", f"their images have {' and '.join(map(str, channels))} channels"))
        self.channels = channels[0]
        self.classes = _classes(datasets, classes)
        self.parts = tuple(_with_all(dataset, self.classes) for dataset in datasets)
        self.starts = np.cumsum([0, *(len(part) for part in self.parts)])
        self.palette = self.parts[0].palette if all(p.palette == self.parts[0].palette for p in self.parts) else ()
        self.root = Path(os.path.commonpath([part.root.absolute() for part in self.parts]))
        ids = [part.category_ids for part in self.parts]
        self.category_ids = ids[0] if all(own == ids[0] for own in ids) else ()
        self.keeps_ids = _ids_differ(self.parts)
        self.annotated = all(part.annotated for part in self.parts)
        absent = [set(part.absent_classes) for part in self.parts]
        self.absent_classes = tuple(name for name in self.classes if all(name in own for own in absent))
        self.notes = (*_said(self, ids), *(note for part in self.parts for note in part.notes))
        self.repeats = None if weights is None else _repeats([len(part) for part in self.parts], weights)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def _place(self, index: int) -> tuple[Dataset, int]:
        """The data set of a sample, and its place there."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self.starts, index, "right")) - 1
        return self.parts[number], index - int(self.starts[number])

    def __getitem__(self, index: int) -> Sample:
        """Reads a sample of one of the data sets."""
        part, place = self._place(index)
        sample = part[place]
        name = name_in(self.root, part.root.absolute() / sample.name)
        return sample._replace(name=name, position=index, image_id=sample.image_id if self.keeps_ids else -1)

    def set_reading(
        self, channels: int | None, value_range: Sequence[float] | Sequence[Sequence[float]] | None
    ) -> None:
        """Says it of every part."""
        super().set_reading(channels, value_range)
        for part in self.parts:
            part.set_reading(channels, value_range)

    def image_sizes(self) -> np.ndarray | None:
        """Those of all data sets, where each knows them."""
        sizes = [part.image_sizes() for part in self.parts]
        return None if any(own is None for own in sizes) else np.concatenate([own for own in sizes if own is not None])

    def files(self, index: int) -> tuple[Path, ...]:
        """Those of the sample in its data set."""
        part, place = self._place(index)
        return part.files(place)

    def annotation_of(self, index: int) -> bytes:
        """What its data set says of the sample's annotation."""
        part, place = self._place(index)
        return part.annotation_of(place)

    def hands_images_on(self) -> bool:
        """Whether all data sets do."""
        return all(part.hands_images_on() for part in self.parts)

    def describe(self) -> str:
        """How many samples each data set gives, how much of the draws, and its own words."""
        lines = [f"{len(self)} samples of {len(self.parts)} data sets below {self.root}"]
        drawn = np.ones(len(self)) if self.repeats is None else self.repeats
        for number, part in enumerate(self.parts):
            share = drawn[self.starts[number] : self.starts[number + 1]].sum() / drawn.sum()
            lines.append(f"{100 * share:.1f} % of the draws from these {len(part)}:")
            lines += [f"  {line}" for line in part.describe().splitlines()]
        return "\n".join(lines)


def _classes(datasets: list[Dataset], wanted: list[str] | None) -> tuple[str, ...]:
    found = list(dict.fromkeys(name for dataset in datasets for name in dataset.classes))
    if wanted is None:
        return tuple(found)
    other = [name for name in found if name not in wanted]
    if other:
        message = f"the data sets name {listed(other, 20)}, which are none of the classes {listed(wanted, 20)}"
        remedy = "name them in data.classes, or choose: {class: [names in the data], ignore: [...]}"
        raise DataError(Problem("data.classes", message, remedy))
    return tuple(wanted)


def _with_all(dataset: Dataset, names: tuple[str, ...]) -> Dataset:
    """A data set with the classes of all; those that it lacks are absent there."""
    if dataset.classes == names:
        return dataset
    labels = np.array([names.index(name) if name in names else LEFT_OUT for name in dataset.classes], np.int64)
    made = by_name(dataset, names)
    made = made if made is not dataset else with_classes(dataset, names, labels)
    made.notes = dataset.notes
    made.absent_classes = tuple(name for name in names if name not in dataset.classes or name in dataset.absent_classes)
    return made


def _ids_differ(parts: tuple[Dataset, ...]) -> bool:
    """Whether no two data sets can use the same id of an image: where only one is given, or they say them beforehand."""
    known = [getattr(getattr(part, "index", None), "image_ids", getattr(part, "image_ids", None)) for part in parts]
    if len(parts) == 1:
        return True
    if any(own is None for own in known):
        return False
    every = np.concatenate([np.asarray(own) for own in known])
    return len(np.unique(every)) == len(every) and bool((every >= 0).all())


def _said(whole: Joined, ids: list[tuple[int, ...]]) -> list[str]:
    notes = []
    if any(ids) and not whole.category_ids:
        notes.append("ids of categories differ between the joined data sets; results number the classes from 1 on")
    if not whole.keeps_ids:
        notes.append("ids of images are not kept: the joined data sets may use the same ones")
    return notes


def _repeats(lengths: list[int], weights: list[float]) -> np.ndarray:
    """(N,) times an epoch that each sample comes, at least 1, so that draws of each data set are in proportion."""
    each = np.array(weights) / np.maximum(lengths, 1)
    return np.repeat(each / each.min(), lengths)
