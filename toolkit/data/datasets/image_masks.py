"""Any folder of images with a folder of masks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from toolkit.contracts import DATASETS, Dataset
from toolkit.data.classes.tables import class_table
from toolkit.data.formats.label_values import label_reader
from toolkit.data.formats.pairs import existing_folder, find_pairs, read_pair, read_split
from toolkit.samples import Sample


@DATASETS.register("image_masks")
class ImageMasks(Dataset):
    """Images and masks of the same name, in two folders (searched with all below them), or in one with a suffix.

    classes: names of labels 0..K-1. root: the data set's folder. images, masks: a folder or glob pattern, relative to
    it. split: a text file, relative to it, with one image name a line; None takes everything.
    label_values: what stored values mean, {0: 0, 255: 1} or {7: 0, 8: ignore}; None: masks store class ids, and 255
    where nothing counts. colors: {class: [r, g, b]} for colour-coded masks. channels: 3 (RGB) or 1 (gray).
    image_suffix, mask_suffix: end of the names that only one of the two has: "_mask" pairs a.jpg with a_mask.png.

    The constructor raises DataError with every image without mask and mask without image; reading raises it for a
    mask of another size, or with a value outside the table.
    """

    def __init__(
        self,
        classes: list[str],
        root: str,
        images: str = "images",
        masks: str = "masks",
        split: str | None = None,
        label_values: dict[int, int | Literal["ignore"]] | None = None,
        colors: dict[str, list[int]] | None = None,
        channels: Literal[1, 3] = 3,
        image_suffix: str = "",
        mask_suffix: str = "",
    ) -> None:
        self.classes, self.palette = class_table(classes)
        if colors is not None:
            own = {name: tuple(color) for name, color in colors.items()}
            self.palette = tuple(own.get(name, (0, 0, 0)) for name in self.classes)  # type: ignore[misc]
        self.channels = channels
        self.reader = label_reader(self.classes, label_values, colors)
        self.root = existing_folder(root)
        keys = None if split is None else read_split(self.root / split)
        self.pairs = tuple(find_pairs(self.root / images, self.root / masks, keys, image_suffix, mask_suffix))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        return read_pair(self.pairs[index], self.root, index, self.reader, self.channels)

    def files(self, index: int) -> tuple[Path, ...]:
        """The image and its mask."""
        return self.pairs[index].image, self.pairs[index].mask

    def describe(self) -> str:
        """The data set in a line."""
        return f"{len(self)} images with masks in {self.root}, {len(self.classes)} classes"
