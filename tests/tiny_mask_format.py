"""A mask format of somebody's own: `NAME.photo.png` beside `NAME.truth.png`, value 200 is a weed. One file, no more."""

from __future__ import annotations

from toolkit.data.classes.tables import class_table
from toolkit.data.formats.label_values import MappedLabelReader
from toolkit.data.formats.paired import PairedDataset
from toolkit.data.formats.pairs import existing_folder, find_pairs


class TinyMaskFormat(PairedDataset):
    """Photographs and truths side by side in a folder a split.

    Args:
        root: folder of the data set, with a folder for each split.
        split: the folder in it that is read.
    """

    def __init__(self, root: str, split: str = "train") -> None:
        folder = existing_folder(existing_folder(root) / split)
        pairs = find_pairs(folder, folder, image_suffix=".photo", mask_suffix=".truth")
        reader = MappedLabelReader(("soil", "weed"), {0: 0, 200: 1})
        super().__init__(class_table(["soil", "weed"]), folder.parent, pairs, reader, title=f"tiny {split}")
