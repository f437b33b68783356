"""A data set without its bad samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.contracts import Dataset
from toolkit.data.formats.detection_index import DetectionIndex
from toolkit.errors import DataError, Problem
from toolkit.samples import Sample


class Skip(NamedTuple):
    """A sample that is left out. name: of its image, relative to the data set's root. reason: what is wrong with it."""

    name: str
    reason: str


class SkippedDataset(Dataset):
    """The samples of another data set that can be used, in its order; what is left out is known.

    inner: the whole data set. dropped: positions in it. skips: everything that is left out, these and what `inner` was
    made without. Raises DataError when nothing is left.
    """

    def __init__(self, inner: Dataset, dropped: Sequence[int], skips: Sequence[Skip]) -> None:
        self.inner = inner
        self.skips = tuple(skips)
        self.kept = np.setdiff1d(np.arange(len(inner)), np.asarray(dropped, np.int64))
        if not len(self.kept):
            first = f": {skips[0].name}: {skips[0].reason}" if skips else ""
            raise DataError(Problem("data.on_bad", f"none of the {len(inner)} samples can be used{first}"))
        self.classes, self.palette = tuple(inner.classes), tuple(inner.palette)
        # What others look for in some data sets only, and do without in the rest.
        for name in ("root", "category_ids", "channels"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))
        pairs: Any = getattr(inner, "pairs", None)
        if pairs is not None:
            self.pairs = tuple(pairs[index] for index in self.kept.tolist())
        index = getattr(inner, "index", None)
        if isinstance(index, DetectionIndex):
            self.index = index.subset(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> Sample:
        """Raises IndexError behind the last sample, so that iteration ends."""
        if not 0 <= index < len(self.kept):
            raise IndexError(index)
        return self.inner[int(self.kept[index])]._replace(position=index)

    def files(self, index: int) -> tuple[Path, ...]:
        """Those of the sample in the whole data set."""
        return self.inner.files(int(self.kept[index]))

    def image_sizes(self) -> np.ndarray | None:
        """Those of the samples that are left."""
        sizes = self.inner.image_sizes()
        return None if sizes is None else sizes[self.kept]

    def describe(self) -> str:
        """The whole data set's words, and how many samples are left out of it."""
        describe = getattr(self.inner, "describe", None)
        whole = str(describe()) if describe else f"{len(self.inner)} images"
        return f"{whole}\n{skipped_text(self)}" if self.skips else whole


def skips_of(dataset: Dataset) -> tuple[Skip, ...]:
    """What a data set leaves out; () for one that leaves out nothing."""
    return dataset.skips if isinstance(dataset, SkippedDataset) else ()


def skipped_text(dataset: Dataset) -> str:
    """How many samples are skipped, and the first of them; "" for none."""
    skips = skips_of(dataset)
    if not skips:
        return ""
    names = ", ".join(skip.name for skip in skips[:5]) + (", ..." if len(skips) > 5 else "")
    return f"{len(skips)} skipped as bad, {len(dataset)} used: {names}"


class FirstSamples(Dataset):
    """The first `number` samples of another data set, or all when it has fewer; everything else is the same."""

    def __init__(self, dataset: Dataset, number: int) -> None:
        self.dataset, self.number = dataset, min(number, len(dataset))
        self.classes, self.palette = dataset.classes, dataset.palette

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[index]

    def image_sizes(self) -> np.ndarray | None:
        """As the data set has them."""
        sizes = self.dataset.image_sizes()
        return None if sizes is None else sizes[: self.number]
