"""The beginning of a data set, as a data set."""

from __future__ import annotations

import numpy as np

from toolkit.contracts import Dataset
from toolkit.samples import Sample


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
