"""Any folder of images with a folder of masks."""

from __future__ import annotations

from typing import Literal

from toolkit.bounds import PositiveInt
from toolkit.contracts import DATASETS
from toolkit.data.formats.class_files import read_label_colors
from toolkit.data.formats.mask_tables import mask_table
from toolkit.data.formats.paired import PairedDataset
from toolkit.data.formats.pairs import existing_folder, find_pairs, read_split


@DATASETS.register("image_masks")
class ImageMasks(PairedDataset):
    """Images and masks of the same name, in two folders (searched with all below them), or in one with a suffix.

        ROOT/images/a.jpg   ROOT/masks/a.png
        ROOT/a.jpg          ROOT/a_mask.png      (images: ., masks: ., mask_suffix: _mask)

    Args:
        classes: names of the labels 0..K-1, in the order of the class ids; None: those of a table beside the data, which
            is said (labelmap.txt with colours, _classes.csv with stored values, data.yaml, classes.txt, obj.names).
        root: the data set's folder, which all other paths are relative to.
        images: folder of the images or a glob pattern (`*/rgb/*.png`), relative to root.
        masks: folder of the masks or a glob pattern, relative to root.
        split: text file with one image name a line, relative to root; None takes every image.
        label_values: what the values in the masks mean, {0: 0, 255: 1}, {7: 0, 8: ignore} or, with ranges and a rest,
            {0: 0, 1-65535: 1}, {0: 0, default: 1} and {"<=127": 0, ">127": 1}; None: masks store class ids, and 255 where
            nothing counts.
        colors: for colour-coded masks, the colour of each class as {class: [r, g, b]}, 0..255; or a file that says
            them, relative to root: CVAT's labelmap.txt. None: colours of a labelmap.txt are used where the masks hold
            them.
        channels: how images are read: 3 for RGB, 1 for gray, or the number of their bands.
        image_suffix: end of the images' names that their masks' names lack ("_rgb").
        mask_suffix: end of the masks' names that their images' names lack: "_mask" pairs a.jpg with a_mask.png.

    Raises:
        DataError: with every image without mask and mask without image; when a sample is read, for a mask of another
            size or with a value outside the table.
    """

    def __init__(
        self,
        classes: list[str] | None,
        root: str,
        images: str = "images",
        masks: str = "masks",
        split: str | None = None,
        label_values: dict[int | str, int | Literal["ignore"]] | None = None,
        colors: dict[str, list[int]] | str | None = None,
        channels: PositiveInt = 3,
        image_suffix: str = "",
        mask_suffix: str = "",
    ) -> None:
        folder = existing_folder(root)
        if isinstance(colors, str):
            colors = read_label_colors(folder / colors)
        keys = None if split is None else read_split(folder / split)
        pairs = find_pairs(folder / images, folder / masks, keys, image_suffix, mask_suffix)
        places = (pairs[0].mask.parent, folder / masks, folder / images, folder)
        table, reader, notes = mask_table(classes, places, pairs[0].mask, label_values, colors)
        super().__init__(table, folder, pairs, reader, channels)
        self.notes = (*notes, *self.notes)
