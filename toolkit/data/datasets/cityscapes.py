"""Cityscapes, fine annotation, the 19 classes that its benchmark counts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from toolkit.contracts import DATASETS, Dataset
from toolkit.data.classes.tables import class_table
from toolkit.data.formats.label_values import MappedLabelReader
from toolkit.data.formats.pairs import existing_folder, find_pairs, read_pair
from toolkit.samples import Sample

_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The `id` of each class in trainId order: cityscapesscripts/helpers/labels.py."""


@DATASETS.register("cityscapes")
class Cityscapes(Dataset):
    """Streets of 50 cities from a car, 1024x2048: 2,975 train and 500 val images (Cordts et al. 2016).

    root: a folder with `leftImg8bit/SPLIT/CITY/` and `gtFine/SPLIT/CITY/`, as unpacked from the two downloads. labels:
    which masks are read, `labelIds` (those of the download; ids that the benchmark leaves out do not count), or
    `labelTrainIds` (made by cityscapesScripts). The test split's masks are empty: there is nothing to measure on it.
    """

    def __init__(
        self,
        root: str,
        split: Literal["train", "val", "test"] = "train",
        labels: Literal["labelIds", "labelTrainIds"] = "labelIds",
    ) -> None:
        self.classes, self.palette = class_table("cityscapes19")
        self.split = split
        self.root = existing_folder(root)
        values: dict[int, int | Literal["ignore"]] = dict.fromkeys((*range(34), 255), "ignore")
        stored = _IDS if labels == "labelIds" else range(len(self.classes))
        values.update({value: label for label, value in enumerate(stored)})
        self.reader = MappedLabelReader(self.classes, values)
        images, masks = self.root / "leftImg8bit" / split, self.root / "gtFine" / split
        self.pairs = tuple(
            find_pairs(images, masks, image_suffix="_leftImg8bit", mask_suffix=f"_gtFine_{labels}"),
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        return read_pair(self.pairs[index], self.root, index, self.reader)

    def files(self, index: int) -> tuple[Path, ...]:
        """The image and its mask."""
        return self.pairs[index].image, self.pairs[index].mask

    def describe(self) -> str:
        """The data set in a line."""
        return f"Cityscapes {self.split}: {len(self)} images in {self.root}, {len(self.classes)} classes"
