"""The boxes of a whole data set as flat arrays: what every box data set is once its files have been read.

118,000 images with 860,000 boxes take some 30 MB, and nothing in them is a Python object, so worker processes share
them (see `PackedStrings`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.data.faults.leaving_out import FileError
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.box_checks import (
    ROUNDING,
    BoxFixes,
    BoxStyle,
    FixBoxes,
    RawBoxes,
    checked_boxes,
    mistaken_convention,
)
from toolkit.data.formats.packed import PackedStrings
from toolkit.data.images.bands import ValueRange
from toolkit.data.images.read import exif_orientation, read_image
from toolkit.errors import DataError, Place, Problem
from toolkit.labels import IGNORE_INDEX
from toolkit.samples import Boxes, Sample

ROUNDING_FRACTION = 1e-3
"""What `ROUNDING` is for boxes given as fractions: half a pixel of an image 500 pixels wide."""


class ImageBoxes(NamedTuple):
    """One image and its objects, as a format's files give them.

    Args:
        name: path relative to the data set's root, with `/`.
        xyxy: M boxes x1, y1, x2, y2: pixels, or fractions of the image where the whole format has them; 0-based, x2/y2
            exclusive.
        labels: class of each of the M boxes, 0..K-1.
        size: (height, width), (0, 0) when the files do not say.
        difficult: M flags, or () for none.
        annotation: path of the file the boxes stand in, "" for none.
        places: where in it each box stands, for messages, or ().
    """

    name: str
    xyxy: Sequence[Sequence[float]] = ()
    labels: Sequence[int] = ()
    size: tuple[int, int] = (0, 0)
    difficult: Sequence[bool] = ()
    annotation: str = ""
    places: Sequence[Place] = ()


class ImageTable(NamedTuple):
    """All images of a data set, before any is left out.

    Args:
        names: N paths relative to the root, with `/`.
        image_ids: (N,) int64, as results name the images.
        sizes: (N, 2) height and width, 0 where not known.
        annotations: path of the file of each image's boxes, or a single one for all.
    """

    names: Sequence[str]
    image_ids: np.ndarray
    sizes: np.ndarray
    annotations: Sequence[str]


class DetectionIndex:
    """Images and their boxes, in a fixed order; image i owns boxes offsets[i] .. offsets[i + 1] - 1.

    names: paths relative to the root. image_ids: (N,) int64. sizes: (N, 2) int32 height and width, 0 where the
    annotation does not say. offsets: (N + 1,) int64. xyxy: (M, 4) float32, pixels, or fractions of the image where
    `normalised`. labels: (M,) int32. crowd, difficult: (M,) bool. area: (M,) float32, NaN where not annotated.
    fixes: boxes mended while reading. empty_left_out: images without boxes that were left out. notes: see `Dataset`.

    Args:
        images: all images of the data set, in their order.
        boxes: the boxes of all of them, already checked against the sizes.
        fixes: what the check changed, to be described later.
        normalised: whether `boxes` are fractions of their image instead of pixels.
    """

    def __init__(self, images: ImageTable, boxes: RawBoxes, fixes: BoxFixes, normalised: bool = False) -> None:
        order = np.argsort(boxes.owners, kind="stable")
        counts = np.bincount(boxes.owners, minlength=len(images.names))
        self.names = PackedStrings(images.names)
        self.annotations = PackedStrings(images.annotations)
        self.image_ids = np.asarray(images.image_ids, np.int64)
        self.sizes = np.asarray(images.sizes, np.int32).reshape(-1, 2)
        self.offsets = np.concatenate([[0], np.cumsum(counts)])
        self.xyxy = boxes.xyxy[order].astype(np.float32)
        self.labels = boxes.labels[order].astype(np.int32)
        self.crowd = boxes.crowd[order]
        self.difficult = boxes.difficult[order]
        self.area = boxes.area[order].astype(np.float32)
        self.normalised = normalised
        self.fixes = fixes
        self.empty_left_out = 0
        self.notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def subset(self, positions: np.ndarray) -> DetectionIndex:
        """Some of the images, in that order, with their boxes."""
        counts = np.diff(self.offsets)[positions]
        rows = [np.arange(self.offsets[place], self.offsets[place + 1]) for place in positions.tolist()]
        chosen = np.concatenate([np.empty(0, np.int64), *rows])
        part = copy.copy(self)
        part.names = PackedStrings(self.names[place] for place in positions.tolist())
        if len(self.annotations) > 1:
            part.annotations = PackedStrings(self.annotations[place] for place in positions.tolist())
        part.image_ids, part.sizes = self.image_ids[positions], self.sizes[positions]
        part.offsets = np.concatenate([[0], np.cumsum(counts)])
        part.xyxy, part.labels, part.crowd = self.xyxy[chosen], self.labels[chosen], self.crowd[chosen]
        part.difficult, part.area = self.difficult[chosen], self.area[chosen]
        return part

    def relabelled(self, labels: np.ndarray, num_classes: int) -> DetectionIndex:
        """The same images with other labels, as `Boxes.relabelled` changes those of one image."""
        owners = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        whole = Boxes(self.xyxy, self.labels.astype(np.int64), self.crowd, self.difficult, self.area)
        own = labels[whole.labels]
        ignored = np.flatnonzero(own == IGNORE_INDEX)
        of = np.concatenate([owners[(own >= 0) & (own != IGNORE_INDEX)], np.repeat(owners[ignored], num_classes)])
        order = np.argsort(of, kind="stable")
        boxes = whole.relabelled(labels, num_classes).take(order)
        part = copy.copy(self)
        part.xyxy, part.labels, part.crowd = boxes.xyxy, boxes.labels.astype(np.int32), boxes.crowd
        part.difficult, part.area = boxes.difficult, boxes.area
        part.offsets = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=len(self)))])
        return part

    def annotation(self, position: int) -> str:
        """Path of the file an image's boxes were read from; "" for none."""
        return self.annotations[position if len(self.annotations) == len(self) else 0]

    def said_of(self, position: int, classes: Sequence[str]) -> bytes:
        """The boxes of one image as bytes that change when a box, its class or a flag does.

        Args:
            position: place of the image in the index.
            classes: names of the labels, so that another order of the same classes changes nothing.
        """
        own = slice(int(self.offsets[position]), int(self.offsets[position + 1]))
        names = "\n".join(classes[label] for label in self.labels[own].tolist())
        return b"|".join(
            (self.xyxy[own].tobytes(), names.encode(), self.crowd[own].tobytes(), self.difficult[own].tobytes())
        )

    def boxes(self, position: int, size: tuple[int, int]) -> Boxes:
        """The boxes of one image, in pixels. size: (height, width) of the image."""
        own = slice(int(self.offsets[position]), int(self.offsets[position + 1]))
        xyxy = self.xyxy[own].copy()
        if self.normalised:
            xyxy *= np.array([size[1], size[0], size[1], size[0]], np.float32)
        np.clip(xyxy, 0, np.array([size[1], size[0], size[1], size[0]], np.float32), out=xyxy)
        areas = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
        area = np.where(np.isnan(self.area[own]), areas, self.area[own])
        labels = self.labels[own].astype(np.int64)
        return Boxes(xyxy, labels, self.crowd[own].copy(), self.difficult[own].copy(), area)

    def sample(self, position: int, root: Path, channels: int = 3, value_range: ValueRange | None = None) -> Sample:
        """Reads an image and gives it its boxes. Raises DataError when its size is not the annotated one.

        Args:
            position: place of the image in the index.
            root: folder that the names of the images are relative to.
            channels: channels of the image as it is read.
            value_range: the stored numbers that become 0 and 255; None: files are of 8 bits.
        """
        if not 0 <= position < len(self):
            raise IndexError(position)
        name = self.names[position]
        image = read_image(root / name, channels, value_range)
        size = (image.shape[0], image.shape[1])
        annotated = (int(self.sizes[position, 0]), int(self.sizes[position, 1]))
        if all(annotated) and annotated != size:
            raise wrong_size(root / name, annotated, size)
        if not all(annotated) and not self.normalised:
            self._check_late(position, root / name, size)
        boxes = self.boxes(position, size)
        return Sample(image, name, position, size, boxes=boxes, image_id=int(self.image_ids[position]))

    def class_counts(self, num_classes: int) -> np.ndarray:
        """(K,) int64: boxes of each label that are no crowd regions."""
        return np.bincount(self.labels[~self.crowd], minlength=num_classes)

    def describe(self, classes: Sequence[str], ids: Sequence[int]) -> str:
        """Counts of images, boxes and mended boxes, and a line a class: id in the files, label, name, boxes."""
        empty = int((np.diff(self.offsets) == 0).sum())
        lines = [f"{len(self)} images with {len(self.labels)} boxes; {empty} images without a box are kept"]
        if self.empty_left_out:
            lines.append(f"{self.empty_left_out} images without a box were left out (keep_empty: false)")
        if any(self.fixes):
            trimmed, clipped, dropped = self.fixes
            lines.append(f"boxes mended: {trimmed} rounded to the edge, {clipped} clipped, {dropped} dropped")
        if self.crowd.any() or self.difficult.any():
            lines.append(f"{int(self.crowd.sum())} crowd regions, {int(self.difficult.sum())} difficult boxes")
        lines.append(f"{'id':>6} {'label':>6}  {'boxes':>8}  class")
        for label, (name, own, count) in enumerate(zip(classes, ids, self.class_counts(len(classes)), strict=True)):
            lines.append(f"{own:>6} {label:>6}  {count:>8}  {name}")
        return "\n".join(lines)

    def _check_late(self, position: int, path: Path, size: tuple[int, int]) -> None:
        """Boxes of an image whose size only the image knows."""
        own = self.xyxy[self.offsets[position] : self.offsets[position + 1]]
        beyond_of_each = (own[:, 2:] - np.array(size[::-1])).max(axis=1, initial=0)
        beyond = beyond_of_each.max(initial=0)
        if beyond > ROUNDING:
            message = f"a box reaches {beyond:g} pixels beyond the image of {size[1]}x{size[0]}"
            raise FileError(
                "box_outside",
                Problem(path, message, "give the image's size in the annotation, and set fix_boxes: clip"),
                boxes=[(x1, y1, x2, y2) for x1, y1, x2, y2 in own[beyond_of_each > ROUNDING].tolist()],
            )


def index_boxes(
    images: Sequence[ImageBoxes],
    source: Path,
    problems: ProblemList,
    keep_empty: bool = True,
    fix_boxes: FixBoxes = "stop",
    style: BoxStyle = "xyxy",
    normalised: bool = False,
) -> DetectionIndex:
    """The index of a format that is read image by image. Raises DataError as `build_index`.

    Args:
        images: every image of the data set, also those at which something is wrong.
        source: the file or folder that was read, which messages about the whole set name.
        problems: what reading has found wrong so far, by the images' positions.
        keep_empty: whether images without a box stay, as background.
        fix_boxes: what to do with boxes that leave their image or have no area.
        style: how the files write a box, by which another convention of the whole set is recognised.
        normalised: whether the boxes are fractions of their image instead of pixels.
    """
    counts = [len(image.labels) for image in images]
    owners = np.repeat(np.arange(len(images)), counts)
    first = np.cumsum([0, *counts])
    corners = [np.asarray(image.xyxy, np.float64).reshape(-1, 4) for image in images]
    flags = [np.asarray(image.difficult or [False] * len(image.labels), bool) for image in images]
    raw = RawBoxes.of(
        owners,
        np.concatenate([np.zeros((0, 4)), *corners]),
        np.concatenate([np.zeros(0, np.int64), *(np.asarray(image.labels, np.int64) for image in images)]),
        np.concatenate([np.zeros(0, bool), *flags]),
    )

    def box_name(box: int) -> Place:
        image = images[owners[box]]
        number = box - int(first[owners[box]])
        if image.places:
            return image.places[number]
        return Place(image.annotation or image.name, item=f"object {number + 1}")

    sizes = np.array([image.size for image in images], np.int64).reshape(-1, 2)
    table = ImageTable([i.name for i in images], np.arange(len(images)), sizes, [i.annotation for i in images])
    return build_index(table, raw, source, box_name, problems, keep_empty, fix_boxes, style, normalised)


def build_index(
    images: ImageTable,
    raw: RawBoxes,
    source: Path,
    box_name: Callable[[int], Place],
    problems: ProblemList,
    keep_empty: bool = True,
    fix_boxes: FixBoxes = "stop",
    style: BoxStyle = "xyxy",
    normalised: bool = False,
) -> DetectionIndex:
    """Checks the boxes and packs them. Raises DataError with all `problems` so far and what is wrong with the boxes.

    Args:
        images: every image of the data set, also those at which something is wrong.
        raw: the boxes of all images, as they stand in the files.
        source: the file or folder that was read, which messages about the whole set name.
        box_name: file and object of box i, for messages.
        problems: what reading has found wrong so far, by the images' positions.
        keep_empty: whether images without a box stay, as background.
        fix_boxes: what to do with boxes that leave their image or have no area.
        style: how the files write a box, by which another convention of the whole set is recognised.
        normalised: whether the boxes are fractions of their image instead of pixels.
    """
    number = len(images.names)
    mistaken = mistaken_convention(raw, images.sizes, style, normalised)
    if mistaken is not None:
        problems.include(DataError(Problem(source, mistaken.message, mistaken.remedy)))
        problems.stop(source)
    if normalised:
        ones = np.ones((number, 2), np.int64)
        boxes, fixes = checked_boxes(raw, ones, fix_boxes, problems, box_name, ROUNDING_FRACTION)
    else:
        boxes, fixes = checked_boxes(raw, images.sizes, fix_boxes, problems, box_name)
    problems.stop_if_any(source, images.names)
    if not number:
        raise DataError(Problem(source, "the data set holds no images"))
    filled = np.arange(number) if keep_empty else np.unique(boxes.owners)
    keep = np.setdiff1d(filled, problems.blamed)
    if not len(keep):
        raise DataError(Problem(source, f"none of its {number} images has a box", "set keep_empty: true"))
    index = DetectionIndex(images, boxes, fixes, normalised)
    if len(keep) < number:
        index = index.subset(keep)
    index.empty_left_out = number - len(filled)
    index.notes = tuple(problems.notes)
    return index


def wrong_size(path: Path, annotated: tuple[int, int], size: tuple[int, int], drawn: str = "boxes") -> FileError:
    """What is said of an image of another size than the one that was annotated.

    Args:
        path: the image's file, for the message.
        annotated: (height, width) in pixels as the annotation says.
        size: (height, width) in pixels of the image as it is read.
        drawn: what the annotation holds, in the plural, for the message.
    """
    was = f"{annotated[1]}x{annotated[0]} (width x height)"
    message = f"the image is {size[1]}x{size[0]}, but its {drawn} were drawn on {was}"
    if annotated == size[::-1] and exif_orientation(path) > 4:
        remedy = "its EXIF orientation turns it; save it without that tag, as the annotation sees it"
        return FileError("image_size_exif", Problem(path, message, remedy))
    if annotated == size[::-1]:
        remedy = (
            f"height and width are exchanged: it was turned after the {drawn} were drawn (a lost EXIF orientation?)"
        )
        return FileError("image_size", Problem(path, message, remedy))
    remedy = "use the image the annotation was made on, or correct the annotated size"
    return FileError("image_size", Problem(path, message, remedy))
