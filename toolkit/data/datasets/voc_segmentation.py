"""Pascal VOC's semantic segmentation: palette masks named by a list."""

from __future__ import annotations

from pathlib import Path

from toolkit.contracts import DATASETS, Dataset
from toolkit.data.classes.tables import class_table
from toolkit.data.formats.label_values import LabelReader
from toolkit.data.formats.pairs import existing_folder, find_pairs, read_pair, read_split
from toolkit.samples import Sample


@DATASETS.register("voc_segmentation")
class VocSegmentation(Dataset):
    """20 things and the background in photographs: 1,464 train and 1,449 val images in VOC 2012 (Everingham et al.).

    root: the folder VOC2012 (or VOC2007), with `JPEGImages/`, `SegmentationClass/` (palette PNGs of class ids, 255 where
    nothing counts) and `ImageSets/Segmentation/`. split: a list there, without `.txt`: train, val, trainval, test.
    masks: folder of the masks; `SegmentationClassAug` and the split `trainaug` are what Hariharan et al.'s additional
    annotation (SBD, 10,582 images) is usually unpacked to. The first class is the background.
    """

    def __init__(self, root: str, split: str = "train", masks: str = "SegmentationClass") -> None:
        self.classes, self.palette = class_table("voc21")
        self.split = split
        self.root = existing_folder(root)
        self.reader = LabelReader(self.classes)
        keys = read_split(self.root / "ImageSets" / "Segmentation" / f"{split}.txt")
        self.pairs = tuple(find_pairs(self.root / "JPEGImages", self.root / masks, keys))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        return read_pair(self.pairs[index], self.root, index, self.reader)

    def files(self, index: int) -> tuple[Path, ...]:
        """The image and its mask."""
        return self.pairs[index].image, self.pairs[index].mask

    def describe(self) -> str:
        """The data set in a line."""
        return f"VOC segmentation {self.split}: {len(self)} images in {self.root}, {len(self.classes)} classes"
