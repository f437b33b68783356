"""A whole data set as the folder of another format: where pictures and annotations go, and what is said of it."""

from __future__ import annotations

import posixpath
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from toolkit.data.writers.annotated import Annotated, Loss, Losses
from toolkit.errors import ConfigError, Problem
from toolkit.files import replacing
from toolkit.labels import ClassTable

Content = Literal["boxes", "outlines", "label_maps"]
"""What a data set's annotation is: boxes, objects with outlines, or the class of every pixel."""


class FolderWriter(ABC):
    """Writes a data set split by split, image by image: `add` each, then `finish`.

    Args:
        folder: the folder of the set, new or empty.
        classes: names, colours and ids of the labels 0..K-1.
        content: boxes, objects with outlines, or label maps.
        background: label of the pixels of no object, or None where every pixel has a class.
    """

    takes: ClassVar[tuple[Content, ...]] = ("boxes", "outlines", "label_maps")
    flat: ClassVar[bool] = False
    """Whether the pictures of all splits lie in one folder without further ones."""

    def __init__(self, folder: Path, classes: ClassTable, content: Content, background: int | None = None) -> None:
        if content not in self.takes:
            message = f"this format holds the class of every pixel, and the source has {content.replace('_', ' ')} only"
            raise ConfigError(Problem("--to", message, "convert to coco, voc, yolo or labelme"))
        self.folder, self.classes, self.content, self.background = folder, classes, content, background
        self.splits: dict[str, list[str]] = {}
        self.written = 0
        self.lost: list[Loss] = []

    @property
    def object_names(self) -> list[str]:
        """Names of the classes that objects have: all but the background."""
        return [name for label, name in enumerate(self.classes.names) if label != self.background]

    @abstractmethod
    def images_in(self, split: str) -> str:
        """The folder of a split's pictures, relative to the set's."""

    @abstractmethod
    def annotate(self, split: str, image: Annotated, channels: int) -> None:
        """Writes, or keeps, the annotation of one image.

        Args:
            split: name of the split it belongs to.
            image: the image; `picture` is relative to `images_in`.
            channels: number of channels of its picture.
        """

    @abstractmethod
    def finish(self) -> None:
        """Writes what is of all images together: tables of classes, lists, files of a split."""

    @abstractmethod
    def read_by(self, split: str) -> dict[str, Any]:
        """The data set of a config that reads the split again, but for its root."""

    def add(self, split: str, image: Annotated, channels: int = 3) -> Path:
        """The annotation of one image; the path at which its picture is wanted.

        Args:
            split: name of its split, such as "train".
            image: the image and its annotation.
            channels: number of channels of its picture.
        """
        self.splits.setdefault(split, []).append(image.stem)
        self.annotate(split, image, channels)
        return self.folder / self.images_in(split) / image.picture

    def write(self, name: str, content: str | bytes, losses: Losses | None = None) -> None:
        """A file of the set, whole or not at all, and what it lost.

        Args:
            name: its path in the set's folder.
            content: what the file will hold, text or bytes.
            losses: what it does not hold of the source.
        """
        with replacing(self.folder / name, durable=False) as part:
            part.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
        self.written += 1
        self.lost += losses.of(name) if losses is not None else []

    def write_lists(self, folder: str) -> None:
        """A list of the stems of each split, as `FOLDER/train.txt`."""
        for split, stems in self.splits.items():
            self.write(f"{folder}/{split}.txt", "".join(f"{stem}\n" for stem in stems))


def picture_names(names: Sequence[str], *, flat: bool = False, taken: set[str] | None = None) -> list[str]:
    """What pictures are called in a new folder: their paths without the folder all share, no two with the same stem.

    Args:
        names: paths of the pictures as the source calls them, with `/`.
        flat: whether folders become part of the name.
        taken: stems that others have, in lower case; the new ones are added.

    >>> picture_names(["images/train/a.jpg", "images/train/b/a.jpg"])
    ['a.jpg', 'b/a.jpg']
    >>> picture_names(["images/a.jpg", "images/a.png"]), picture_names(["x/a.jpg", "y/a.jpg"], flat=True)
    (['a.jpg', 'a_png.png'], ['x_a.jpg', 'y_a.jpg'])
    """
    taken = set() if taken is None else taken
    parents = [posixpath.dirname(name) for name in names]
    shared = posixpath.commonpath(parents) if len({name.startswith("/") for name in names}) == 1 else ""
    found = []
    for name in names:
        inner = (posixpath.relpath(name, shared) if shared else name).lstrip("/")
        stem, ending = posixpath.splitext(inner.replace("/", "_") if flat else inner)
        choice, number = stem, 1
        while choice.casefold() in taken:
            choice = f"{stem}_{ending.lstrip('.')}" if number == 1 else f"{stem}_{number}"
            number += 1
        taken.add(choice.casefold())
        found.append(choice + ending)
    return found
