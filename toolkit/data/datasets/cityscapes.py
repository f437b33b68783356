"""Cityscapes, fine annotation, the 19 classes that its benchmark counts."""

from __future__ import annotations

from typing import Literal

from toolkit.contracts import DATASETS
from toolkit.data.classes.tables import class_table
from toolkit.data.formats.label_values import MappedLabelReader
from toolkit.data.formats.paired import PairedDataset
from toolkit.data.formats.pairs import existing_folder, find_pairs

_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The `id` of each class in trainId order: cityscapesscripts/helpers/labels.py."""


@DATASETS.register("cityscapes")
class Cityscapes(PairedDataset):
    """Streets of 50 cities from a car, 1024x2048: 2,975 train and 500 val images (Cordts et al. 2016).

    As unpacked from the two downloads (the test split's masks are empty: there is nothing to measure on it):

        ROOT/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
        ROOT/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png

    Args:
        root: the folder that holds leftImg8bit/ and gtFine/.
        split: the part that is read, a folder in both.
        labels: which masks are read: `labelIds`, those of the download, where ids that the benchmark leaves out do not
            count, or `labelTrainIds`, which cityscapesScripts makes.
    """

    def __init__(
        self,
        root: str,
        split: Literal["train", "val", "test"] = "train",
        labels: Literal["labelIds", "labelTrainIds"] = "labelIds",
    ) -> None:
        table, folder = class_table("cityscapes19"), existing_folder(root)
        values: dict[int, int | Literal["ignore"]] = dict.fromkeys((*range(34), 255), "ignore")
        stored = _IDS if labels == "labelIds" else range(len(table.names))
        values.update({value: label for label, value in enumerate(stored)})
        images, masks = folder / "leftImg8bit" / split, folder / "gtFine" / split
        pairs = find_pairs(images, masks, image_suffix="_leftImg8bit", mask_suffix=f"_gtFine_{labels}")
        super().__init__(table, folder, pairs, MappedLabelReader(table.names, values), title=f"Cityscapes {split}")
