"""Pascal VOC's semantic segmentation: palette masks named by a list."""

from __future__ import annotations

from toolkit.contracts import DATASETS
from toolkit.data.classes.tables import class_table
from toolkit.data.formats.label_values import LabelReader
from toolkit.data.formats.paired import PairedDataset
from toolkit.data.formats.pairs import existing_folder, find_pairs, read_split


@DATASETS.register("voc_segmentation")
class VocSegmentation(PairedDataset):
    """20 things and the background in photographs: 1,464 train and 1,449 val images in VOC 2012 (Everingham et al.).

    Masks are palette PNGs of class ids, 255 where nothing counts; the first class is the background.

        ROOT/JPEGImages/2007_000032.jpg
        ROOT/SegmentationClass/2007_000032.png
        ROOT/ImageSets/Segmentation/train.txt   (one name a line, without extension)

    Args:
        root: the folder VOC2012 (or VOC2007), with the three folders above.
        split: a list in ImageSets/Segmentation, without `.txt`: train, val, trainval, test.
        masks: folder of the masks; `SegmentationClassAug` and the split `trainaug` are what Hariharan et al.'s
            additional annotation (SBD, 10,582 images) is usually unpacked to.
    """

    def __init__(self, root: str, split: str = "train", masks: str = "SegmentationClass") -> None:
        table, folder = class_table("voc21"), existing_folder(root)
        keys = read_split(folder / "ImageSets" / "Segmentation" / f"{split}.txt")
        pairs = find_pairs(folder / "JPEGImages", folder / masks, keys)
        super().__init__(table, folder, pairs, LabelReader(table.names), title=f"VOC segmentation {split}")
