"""Pascal VOC's semantic segmentation: palette masks named by a list."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from toolkit.contracts import DATASETS
from toolkit.data.classes.tables import class_table
from toolkit.data.formats.label_values import LabelReader, MappedLabelReader
from toolkit.data.formats.mask_tables import MaskTable, mask_table
from toolkit.data.formats.paired import PairedDataset
from toolkit.data.formats.pairs import existing_folder, find_pairs, read_split
from toolkit.errors import DataError, Problem, listed
from toolkit.labels import ClassTable


@DATASETS.register("voc_segmentation")
class VocSegmentation(PairedDataset):
    """Images and masks in VOC's layout: VOC 2012 itself (Everingham et al.), or one's own, as CVAT exports it.

    VOC 2012 has 20 things and the background: 1,464 train and 1,449 val images, whose masks are palette PNGs of class
    ids, 255 where nothing counts. A `labelmap.txt` beside the folders (CVAT's "Segmentation mask") gives the classes and
    the colours of the masks.

        ROOT/JPEGImages/2007_000032.jpg
        ROOT/SegmentationClass/2007_000032.png
        ROOT/ImageSets/Segmentation/train.txt   (one name a line, without extension)

    Args:
        root: the folder VOC2012 (or VOC2007), with the three folders above.
        split: a list in ImageSets/Segmentation, without `.txt`: train, val, trainval, test.
        masks: folder of the masks; `SegmentationClassAug` and the split `trainaug` are what Hariharan et al.'s
            additional annotation (SBD, 10,582 images) is usually unpacked to.
        classes: names in label order; None: those of a labelmap.txt, else VOC's 21.
    """

    def __init__(
        self,
        root: str,
        split: str = "train",
        masks: str = "SegmentationClass",
        classes: list[str] | None = None,
    ) -> None:
        folder = existing_folder(root)
        keys = read_split(folder / "ImageSets" / "Segmentation" / f"{split}.txt")
        pairs = find_pairs(folder / "JPEGImages", folder / masks, keys)
        if (folder / "labelmap.txt").is_file():
            table, reader, notes = mask_table(classes, [folder], pairs[0].mask)
        else:
            table, reader, notes = _vocs_own(classes, folder)
        super().__init__(table, folder, pairs, reader, title=f"VOC segmentation {split}")
        self.notes = (*notes, *self.notes)


def _vocs_own(classes: list[str] | None, folder: Path) -> MaskTable:
    """VOC's table, in the order of the config where that names the same classes."""
    table = class_table("voc21")
    if classes is None or tuple(classes) == table.names:
        return MaskTable(table, LabelReader(table.names))
    if set(classes) != set(table.names):
        message = f"its masks hold VOC's 21 classes, not {listed(classes, 25)}; no labelmap.txt says others"
        remedy = "write a labelmap.txt with a line name:r,g,b for each class, or use data set 'image_masks'"
        raise DataError(Problem(folder, message, remedy))
    values: dict[int, int | Literal["ignore"]] = {
        stored: classes.index(name) for stored, name in enumerate(table.names)
    }
    palette = tuple(table.palette[table.names.index(name)] for name in classes)
    return MaskTable(ClassTable(tuple(classes), palette), MappedLabelReader(classes, {**values, 255: "ignore"}))
