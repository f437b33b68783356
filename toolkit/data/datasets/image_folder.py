"""Image classification: a folder a class."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.bounds import PositiveInt
from toolkit.contracts import DATASETS, Dataset
from toolkit.data.formats.pairs import existing_folder, name_in
from toolkit.data.images.formats import IMAGE_SUFFIXES
from toolkit.data.images.listing import Listing, image_files
from toolkit.data.images.read import read_image
from toolkit.data.images.traits import unread_pages
from toolkit.errors import DataError, Problem, did_you_mean
from toolkit.labels import default_palette
from toolkit.samples import Sample


@DATASETS.register("image_folder")
class ImageFolder(Dataset):
    """Images in a folder a class, with all folders below; an image's class is the name of that folder.

    Sorted by class, then by path. Hidden files and files that are no images are left out.

        ROOT/train/cat/001.jpg   ROOT/train/dog/001.jpg   (split: train)
        ROOT/cat/001.jpg         ROOT/dog/001.jpg         (split: "")

    Args:
        classes: names of the labels 0..K-1, which are the names of the folders.
        root: the data set's folder, in one of the two layouts above.
        split: a folder in it (`train`), or "" when the classes' folders lie in the root itself.
        channels: how images are read: 3 for RGB, 1 for gray, or the number of their bands.

    Raises:
        DataError: a class without folder or images, a folder that is no class.
    """

    def __init__(self, classes: list[str], root: str, split: str = "", channels: PositiveInt = 3) -> None:
        self.classes = tuple(classes)
        self.palette = default_palette(len(classes))
        self.channels = channels
        self.root = existing_folder(root)
        place = existing_folder(self.root / split)
        folders = {path.name: path for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")}
        listings = [image_files(folders[name]) if name in folders else Listing([], [], []) for name in classes]
        found = [listing.paths for listing in listings]
        problems = [
            Problem(place, f"there is no folder '{name}' for that class", did_you_mean(name, folders))
            for name in classes
            if name not in folders
        ]
        problems += [
            Problem(folders[name], f"holds no images of class '{name}'", f"known: {' '.join(IMAGE_SUFFIXES)}")
            for name, paths in zip(classes, found, strict=True)
            if name in folders and not paths
        ]
        problems += [
            Problem(folders[name], f"'{name}' is not among the {len(classes)} classes", "add it, or move it away")
            for name in sorted(set(folders) - set(classes))
        ]
        if problems:
            raise DataError(problems)
        self.items = tuple((path, label) for label, paths in enumerate(found) for path in paths)
        left_out = [note for listing in listings for note in listing.notes]
        self.notes = (*left_out, *unread_pages(path for paths in found for path in paths))

    looks_at_no_pixel = True

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        path, label = self.items[index]
        image = read_image(path, self.channels, self.value_range)
        return Sample(image, name_in(self.root, path), index, image.shape[:2], image_label=label)

    def with_classes(self, names: Sequence[str], labels: np.ndarray) -> ImageFolder:
        """The images of the chosen classes; those of others are left out."""
        made = copy.copy(self)
        made.classes, made.palette = tuple(names), default_palette(len(names))
        new = ((path, int(labels[label])) for path, label in self.items)
        made.items = tuple((path, label) for path, label in new if 0 <= label < len(names))
        return made

    def files(self, index: int) -> tuple[Path, ...]:
        """The path of the image; its class is its folder, so there is no annotation file."""
        return (self.items[index][0],)

    def describe(self) -> str:
        """The number of images and classes, and where they are."""
        return f"{len(self)} images of {len(self.classes)} classes in {self.root}"
