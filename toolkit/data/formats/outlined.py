"""The base of data sets whose annotation is outlines: a format only reads its files to `ImageOutlines`.

The same outlines become label maps (`OutlinedDataset`) or boxes (`OutlinedBoxes`).
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from toolkit.contracts import Dataset
from toolkit.data.classes.matching import match_names
from toolkit.data.faults.leaving_out import FileError
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.box_checks import FixBoxes
from toolkit.data.formats.boxed import BoxDataset
from toolkit.data.formats.detection_index import ImageBoxes, index_boxes, wrong_size
from toolkit.data.formats.outlines import (
    ImageOutlines,
    Outline,
    Overlaps,
    RunLengths,
    drawn_labels,
    label_map,
    outline_box,
    scaled,
)
from toolkit.data.formats.packed import PackedBytes, PackedStrings
from toolkit.data.images.read import read_image
from toolkit.data.images.traits import unread_pages
from toolkit.errors import DataError, Place, Problem, Where, listed
from toolkit.labels import IGNORE_INDEX, default_palette
from toolkit.samples import Sample

BoxOnly = Literal["fill", "ignore", "stop"]
"""Objects of a label map that have a box and no outline: the box is filled, does not count, or is refused."""

IGNORED_LABELS = ("__ignore__", "ignore")
"""What labelling tools call regions that do not count (LabelMe's labels.txt)."""

BACKGROUND_LABELS = ("_background_", "background")
"""What labelling tools call the rest of the image, where they name it."""

NO_OBJECTS = (*IGNORED_LABELS, *BACKGROUND_LABELS)
"""Names that are no class of an object."""


class Drawing(NamedTuple):
    """How objects become a label map.

    Args:
        background: name of the class of the pixels of no object; "ignore": they do not count.
        overlaps: which of several objects a pixel gets: the later one of the file, or the smaller one.
        box_only: what becomes of objects that have a box and no outline.
        crowd: whether regions of many objects are drawn as their class, or do not count.
    """

    background: str = "background"
    overlaps: Overlaps = "file_order"
    box_only: BoxOnly = "fill"
    crowd: Literal["draw", "ignore"] = "draw"


_USUAL = Drawing()


def drawn_classes(
    found: Sequence[str],
    wanted: Sequence[str] | None,
    background: str,
    where: Where,
    problems: ProblemList,
    places: Mapping[str, str],
) -> tuple[str, ...]:
    """The classes of a label map in label order: `wanted`, or the background and what was found.

    Raises DataError with all differences, and when nothing says what the pixels of no object are.

    Args:
        found: names that objects have, or that the files list, without repetition.
        wanted: names the user gives, in the order of the labels, or None.
        background: name of the class of the pixels of no object, or "ignore".
        where: file or folder that messages begin with.
        problems: what is wrong already and is told together with this.
        places: where a found name stands and how often, in words, for messages.
    """
    objects = [name for name in found if name not in (background, *NO_OBJECTS)]
    if wanted is None:
        return tuple(objects) if background == "ignore" else (background, *objects)
    if background != "ignore" and background not in wanted:
        message = f"the pixels outside of all outlines are '{background}', which is none of {_shown(wanted)}"
        remedy = f"write classes: [{background}, {', '.join(wanted[:3])} ...], or set background to one of them, or to ignore"
        problems.include(DataError(Problem(where, message, remedy)))
        problems.stop(where)
    return _matched(objects, wanted, where, problems, places)


def _matched(
    found: Sequence[str], wanted: Sequence[str] | None, where: Where, problems: ProblemList, places: Mapping[str, str]
) -> tuple[str, ...]:
    try:
        return match_names(found, wanted, where, complete=False, places=places)
    except DataError as error:
        problems.include(error)
        problems.stop(where)


def named_places(images: Sequence[ImageOutlines]) -> dict[str, str]:
    """Where each name of an object stands and how often, in words."""
    found: dict[str, list[Place]] = {}
    for image in images:
        for one in image.outlines:
            found.setdefault(one.label, []).append(one.where)
    return {
        name: f"{len(places)} object{'s' * (len(places) != 1)}, the first in {places[0]}"
        for name, places in found.items()
    }


def _shown(names: Sequence[str]) -> str:
    return f"the {len(names)} classes: {listed(names, 20)}"


def label_of(name: str, classes: Sequence[str], background: str) -> int:
    """The label of an object's name, 255 for what does not count.

    Args:
        name: what the file calls the object.
        classes: names of the labels 0..K-1.
        background: name of the class of the pixels of no object, or "ignore".
    """
    if name in classes:
        return classes.index(name)
    if name in BACKGROUND_LABELS and background in classes:
        return classes.index(background)
    return IGNORE_INDEX


class OutlinedDataset(Dataset):
    """Images whose objects are outlined, as label maps that are drawn when a sample is read.

    A new format is a subclass whose constructor reads its files to `ImageOutlines`; see `labelme.py`.

    Args:
        classes: names of the labels 0..K-1; None: the background, and what is found.
        root: the data set's folder, which the names of the images are relative to.
        images: the images and their objects, also those at which something is wrong.
        source: the file or folder that was read, which messages about the whole set name.
        problems: what reading has found wrong so far, by the images' positions.
        drawing: how objects become a label map.
        known: names that the files list, whether objects have them or not; None: there is no such list.
        normalised: whether coordinates are fractions of their image instead of pixels.

    Raises:
        DataError: with all problems so far, with masks of another size, and when no image is left.
    """

    def __init__(
        self,
        classes: Sequence[str] | None,
        root: Path,
        images: Sequence[ImageOutlines],
        source: Where,
        problems: ProblemList,
        drawing: Drawing = _USUAL,
        known: Sequence[str] | None = None,
        normalised: bool = False,
    ) -> None:
        self.root, self.drawing, self.normalised = root, drawing, normalised
        places = named_places(images)
        found = list(known) if known is not None else sorted(places)
        self.classes = drawn_classes(found, classes, drawing.background, source, problems, places)
        self.absent_classes = tuple(name for name in self.classes if name not in (*found, drawing.background))
        self.palette = default_palette(len(self.classes))
        for position, image in enumerate(images):
            with problems.about(position):
                _check(image, drawing, problems)
        problems.stop_if_any(source, [image.name for image in images])
        if not images:
            raise DataError(Problem(source, "the data set holds no images"))
        kept = [images[place] for place in np.setdiff1d(np.arange(len(images)), problems.blamed).tolist()]
        labels = [[label_of(one.label, self.classes, drawing.background) for one in image.outlines] for image in kept]
        self.names = PackedStrings(image.name for image in kept)
        self.annotations = PackedStrings(image.annotation for image in kept)
        self.sizes = np.array([image.size for image in kept], np.int32).reshape(-1, 2)
        self.image_ids = np.array([image.image_id for image in kept], np.int64)
        drawn = (drawn_labels(one.outlines, own, drawing.crowd) for one, own in zip(kept, labels, strict=True))
        self._packed = PackedBytes(_pack(one.outlines, own, drawing) for one, own in zip(kept, drawn, strict=True))
        counts = np.zeros(256, np.int64)
        np.add.at(counts, np.array([label for own in labels for label in own], np.int64), 1)
        self.object_counts = counts
        boxes = sum(one.is_box for image in kept for one in image.outlines)
        if boxes and drawing.box_only != "stop":
            what = "is filled" if drawing.box_only == "fill" else "does not count"
            problems.notes.append(f"{source}: {boxes} objects have a box and no outline; the box {what} (box_only)")
        self.notes = (*problems.notes, *unread_pages(root / image.name for image in kept))

    looks_at_no_pixel = True

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Reads an image and draws its label map. Raises DataError when its size is not the annotated one."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        name = self.names[index]
        image = read_image(self.root / name, self.channels, self.value_range)
        size = (image.shape[0], image.shape[1])
        annotated = (int(self.sizes[index, 0]), int(self.sizes[index, 1]))
        if all(annotated) and annotated != size:
            raise wrong_size(self.root / name, annotated, size, "outlines")
        labels = self.draw(index, size)
        return Sample(image, name, index, size, label_map=labels, image_id=int(self.image_ids[index]))

    def outlines(self, index: int, size: tuple[int, int]) -> tuple[list[Outline], list[int]]:
        """The objects of an image of that (height, width), in pixels, and their labels, in the order of the file."""
        outlines, labels = _unpack(self._packed[index])
        return [scaled(one, size) for one in outlines] if self.normalised else outlines, labels

    def draw(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """(H, W) uint8 label map of an image of that (height, width)."""
        outlines, labels = self.outlines(index, size)
        background = self.drawing.background
        rest = IGNORE_INDEX if background == "ignore" else self.classes.index(background)
        try:
            return label_map(outlines, labels, size, rest, self.drawing.overlaps)
        except ValueError as error:
            path = self.root / self.names[index]
            raise FileError("mask_size", Problem(path, f"its annotation holds {error}", "export it again")) from None

    def files(self, index: int) -> tuple[Path, ...]:
        """The image, and the file its objects were read from."""
        image, annotation = self.root / self.names[index], self.annotations[index]
        return (image, Path(annotation)) if annotation else (image,)

    def annotation_of(self, index: int) -> bytes:
        """Outlines and class names of an image; see `Dataset`."""
        rows = pickle.loads(self._packed[index])
        return pickle.dumps([(self.classes[row[0]] if row[0] < len(self.classes) else "", *row[1:]) for row in rows])

    def image_sizes(self) -> np.ndarray:
        """(N, 2) height and width of each image as the annotation says, 0 where it does not."""
        return self.sizes

    def subset(self, indices: Sequence[int]) -> OutlinedDataset:
        """The same kind of data set with some of the images."""
        part, chosen = copy.copy(self), np.asarray(indices, np.int64)
        part.names = PackedStrings(self.names[place] for place in chosen.tolist())
        part.annotations = PackedStrings(self.annotations[place] for place in chosen.tolist())
        part._packed = PackedBytes(self._packed[place] for place in chosen.tolist())
        part.sizes, part.image_ids = self.sizes[chosen], self.image_ids[chosen]
        return part

    def describe(self) -> str:
        """Counts, the drawing order, and a table of label, name and number of objects of each class."""
        order = "in the order of the file" if self.drawing.overlaps == "file_order" else "larger ones first"
        lines = [
            f"{len(self)} images with outlined objects in {self.root}, drawn {order}, later over earlier",
            f"pixels of no object: {self.drawing.background}",
            f"{'label':>6}  {'objects':>8}  class",
        ]
        lines += [f"{label:>6}  {self.object_counts[label]:>8}  {name}" for label, name in enumerate(self.classes)]
        if self.object_counts[IGNORE_INDEX]:
            lines.append(f"{IGNORE_INDEX:>6}  {self.object_counts[IGNORE_INDEX]:>8}  (do not count)")
        return "\n".join(lines)


def _check(image: ImageOutlines, drawing: Drawing, problems: ProblemList) -> None:
    for outline in image.outlines:
        mask = outline.mask
        if mask is not None and all(image.size) and mask.size != image.size:
            message = f"its mask is {mask.size} (height, width), the image {image.size}"
            problems.add("masks of another size", outline.where, message, "export it again")
        if outline.is_box and drawing.box_only == "stop":
            message = f"'{outline.label}' has a box and no outline, so its pixels are not known"
            problems.add("objects without outline", outline.where, message, "draw it, or set box_only: fill or ignore")


def _pack(outlines: Sequence[Outline], labels: Sequence[int], drawing: Drawing) -> bytes:
    """The objects of an image in few bytes."""
    rows = [
        (
            IGNORE_INDEX if one.is_box and drawing.box_only == "ignore" else label,
            [points.tobytes() for points in one.rings],
            [points.tobytes() for points in one.holes],
            None if one.mask is None else tuple(one.mask),
            one.box,
            one.crowd,
            one.group,
        )
        for one, label in zip(outlines, labels, strict=True)
    ]
    return pickle.dumps(rows)


def _unpack(packed: bytes) -> tuple[list[Outline], list[int]]:
    outlines, labels = [], []
    for label, rings, holes, mask, box, crowd, group in pickle.loads(packed):
        own = [tuple(np.frombuffer(points).reshape(-1, 2) for points in parts) for parts in (rings, holes)]
        runs = None if mask is None else RunLengths(*mask)
        outlines.append(Outline("", own[0], own[1], runs, box, crowd, group))
        labels.append(label)
    return outlines, labels


class OutlinedBoxes(BoxDataset):
    """The same images and objects as boxes; entries of one group and class are one object.

    Args:
        classes: names of the labels 0..K-1; None: what is found.
        root: the data set's folder, which the names of the images are relative to.
        images: the images and their objects, also those at which something is wrong.
        source: the file or folder that was read, which messages about the whole set name.
        problems: what reading has found wrong so far, by the images' positions.
        keep_empty: whether images without objects stay, as background.
        fix_boxes: what to do with boxes outside their image or without area.
        known: names that the files list, whether objects have them or not; None: there is no such list.

    Raises:
        DataError: with all problems so far and what is wrong with the boxes.
    """

    def __init__(
        self,
        classes: Sequence[str] | None,
        root: Path,
        images: Sequence[ImageOutlines],
        source: Path,
        problems: ProblemList,
        keep_empty: bool = True,
        fix_boxes: FixBoxes = "stop",
        known: Sequence[str] | None = None,
    ) -> None:
        places = named_places(images)
        found = [name for name in (known if known is not None else sorted(places)) if name not in NO_OBJECTS]
        names = _matched(found, classes, source, problems, places)
        left = sum(one.label not in names for image in images for one in image.outlines)
        if left:
            problems.notes.append(f"{source}: {left} objects are named {' or '.join(NO_OBJECTS)} and are left out")
        boxes = [_boxes_of(image, names) for image in images]
        super().__init__(names, root, index_boxes(boxes, source, problems, keep_empty, fix_boxes))
        self.absent_classes = tuple(name for name in names if name not in found)


def _boxes_of(image: ImageOutlines, classes: Sequence[str]) -> ImageBoxes:
    found: dict[object, list[Outline]] = {}
    for number, one in enumerate(image.outlines):
        if one.label in classes:
            found.setdefault((one.label, one.group) if one.group else number, []).append(one)
    parts = [np.array([outline_box(one) for one in group]) for group in found.values()]
    return ImageBoxes(
        image.name,
        [[*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist()] for boxes in parts],
        [classes.index(group[0].label) for group in found.values()],
        image.size,
        (),
        image.annotation,
        [group[0].where for group in found.values()],
    )
