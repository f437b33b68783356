"""The objects of a detection data set, each cut out of its picture: images with a class, to classify."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from toolkit.bounds import NonNegativeFloat, PositiveFloat
from toolkit.contracts import DATASETS, Dataset
from toolkit.errors import DataError, Problem
from toolkit.labels import default_palette
from toolkit.samples import Sample


@DATASETS.register("box_crops")
class BoxCrops(Dataset):
    """Every box of a data set as an image of its own, whose class is the box's; nothing is written.

    The crop is a square around the box's centre; what lies beyond the picture repeats its edge. Crowd regions and
    difficult objects are left out. Crops of one picture belong together (`data.group: '^(.+) box [0-9]+$'`).

        {name: box_crops, margin: 0.1, dataset: {name: voc, root: data/bccd, split: train}}

    Args:
        dataset: the detection data set, with arguments of its own; its classes are the crops'.
        margin: what is added at each side, as a share of the box's longer side; 0 cuts along the box.
        min_side: boxes whose shorter side has fewer pixels are left out, which is said.

    Raises:
        DataError: a data set without boxes, or none that are large enough.
    """

    def __init__(self, dataset: Dataset, margin: NonNegativeFloat = 0.1, min_side: PositiveFloat = 8.0) -> None:
        self.dataset, self.margin = dataset, margin
        self.root, self.channels = dataset.root, dataset.channels
        self.classes = tuple(dataset.classes)
        self.palette = default_palette(len(self.classes))
        self.places, self.labels, left_out = _objects(dataset, min_side)
        if not len(self.places):
            message = f"has no boxes of at least {min_side:g} pixels a side to cut out"
            raise DataError(Problem(dataset.root, message, "choose another data set, or a smaller min_side"))
        self.notes = dataset.notes
        if left_out:
            text = f"{left_out} boxes are no crops: crowd regions, difficult objects, or less than {min_side:g} pixels a side"
            self.notes = (*dataset.notes, text)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:
        """Reads the picture and cuts the object out."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        place, number = self.places[index].tolist()
        whole = self.dataset[place]
        if whole.boxes is None:
            raise DataError(Problem(whole.name, "has no boxes"))
        image = square_crop(whole.image, whole.boxes.xyxy[number], self.margin)
        name = f"{whole.name} box {number + 1}"
        return Sample(image, name, index, image.shape[:2], image_label=int(self.labels[index]))

    def set_reading(
        self, channels: int | None, value_range: Sequence[float] | Sequence[Sequence[float]] | None
    ) -> None:
        """Says it of the data set that is cut."""
        super().set_reading(channels, value_range)
        self.dataset.set_reading(channels, value_range)

    def files(self, index: int) -> tuple[Path, ...]:
        """The picture that the object is cut from, and its annotation."""
        return self.dataset.files(int(self.places[index, 0]))

    def annotation_of(self, index: int) -> bytes:
        """What the data set says of the whole picture, and which box it is."""
        place, number = self.places[index].tolist()
        return self.dataset.annotation_of(place) + b"|%d" % number

    def describe(self) -> str:
        """How many crops of each class, and of how many pictures."""
        counts = np.bincount(self.labels, minlength=len(self.classes)).tolist()
        each = ", ".join(f"{count} {name}" for name, count in zip(self.classes, counts, strict=True))
        return f"{len(self)} crops of {len(np.unique(self.places[:, 0]))} pictures in {self.root}: {each}"


def square_crop(image: np.ndarray, box: np.ndarray, margin: float) -> np.ndarray:
    """The square around a box's centre, as wide as its longer side and a margin; beyond the picture its edge is repeated.

    Args:
        image: (H, W, C) uint8 picture.
        box: (4,) x1, y1, x2, y2 in pixels.
        margin: what is added at each side, as a share of the longer side.

    >>> picture = np.arange(36, dtype=np.uint8).reshape(6, 6, 1)
    >>> square_crop(picture, np.array([1.0, 2.0, 3.0, 4.0]), 0.0)[:, :, 0].tolist()
    [[13, 14], [19, 20]]
    """
    x1, y1, x2, y2 = (float(value) for value in box)
    side = max(1, round(max(x2 - x1, y2 - y1) * (1 + 2 * margin)))
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    height, width = image.shape[:2]
    inside = image[max(0, top) : top + side, max(0, left) : left + side]
    edges = (max(0, -top), max(0, top + side - height), max(0, -left), max(0, left + side - width))
    if not any(edges):
        return np.ascontiguousarray(inside)
    made = cv2.copyMakeBorder(inside, *edges, cv2.BORDER_REPLICATE)
    return made.reshape(side, side, image.shape[2])


def _objects(dataset: Dataset, min_side: float) -> tuple[np.ndarray, np.ndarray, int]:
    """(M, 2) picture and box of every object that is cut, (M,) their labels, and how many boxes are not."""
    places, labels, left_out = [np.empty((0, 2), np.int64)], [np.empty(0, np.int64)], 0
    for place in range(len(dataset)):
        boxes = dataset.boxes_of(place)
        if boxes is None:
            continue
        sides = (boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]).min(1, initial=np.inf)
        kept = np.flatnonzero((sides >= min_side) & ~boxes.crowd & ~boxes.difficult)
        left_out += boxes.count - len(kept)
        places.append(np.stack([np.full(len(kept), place), kept], 1))
        labels.append(boxes.labels[kept])
    return np.concatenate(places), np.concatenate(labels), left_out
