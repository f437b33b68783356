"""The boxes of a whole data set as flat arrays: what every box data set is once its files have been read.

118,000 images with 860,000 boxes take some 30 MB, and nothing in them is a Python object, so worker processes share
them (see `PackedStrings`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from toolkit.data.faults.leaving_out import FileError
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.box_checks import ROUNDING, BoxFixes, FixBoxes, RawBoxes, checked_boxes
from toolkit.data.images.read import exif_orientation, read_image
from toolkit.errors import DataError, Problem
from toolkit.samples import Boxes, Sample

ROUNDING_FRACTION = 1e-3
"""What `ROUNDING` is for boxes given as fractions: half a pixel of an image 500 pixels wide."""


class DetectionIndex:
    """Images and their boxes, in a fixed order; image i owns boxes offsets[i] .. offsets[i + 1] - 1.

    names: paths relative to the root. image_ids: (N,) int64. sizes: (N, 2) int32 height and width, 0 where the
    annotation does not say. offsets: (N + 1,) int64. xyxy: (M, 4) float32, pixels, or fractions of the image where
    `normalised`. labels: (M,) int32. crowd, difficult: (M,) bool. area: (M,) float32, NaN where not annotated.
    fixes: boxes mended while reading. left_out: images without boxes that were left out. The constructor's left_out:
    positions of images that are dropped because something is wrong with them.
    """

    def __init__(
        self,
        names: Sequence[str],
        image_ids: np.ndarray,
        sizes: np.ndarray,
        boxes: RawBoxes,
        fixes: BoxFixes,
        keep_empty: bool,
        normalised: bool = False,
        left_out: Sequence[int] = (),
    ) -> None:
        counts = np.bincount(boxes.owners, minlength=len(names))
        keep = np.flatnonzero(counts) if not keep_empty else np.arange(len(names))
        self.left_out = len(names) - len(keep)
        if left_out:
            keep = np.setdiff1d(keep, left_out)
            boxes = RawBoxes(*(field[np.isin(boxes.owners, keep)] for field in boxes))
        order = np.argsort(boxes.owners, kind="stable")
        self.names = PackedStrings(names[i] for i in keep.tolist())
        self.image_ids = np.asarray(image_ids, np.int64)[keep]
        self.sizes = np.asarray(sizes, np.int32)[keep]
        self.offsets = np.concatenate([[0], np.cumsum(counts[keep])])
        self.xyxy = boxes.xyxy[order].astype(np.float32)
        self.labels = boxes.labels[order].astype(np.int32)
        self.crowd = boxes.crowd[order]
        self.difficult = boxes.difficult[order]
        self.area = boxes.area[order].astype(np.float32)
        self.normalised = normalised
        self.fixes = fixes

    def __len__(self) -> int:
        return len(self.names)

    def subset(self, positions: np.ndarray) -> DetectionIndex:
        """Some of the images, in that order, with their boxes."""
        counts = np.diff(self.offsets)[positions]
        rows = [np.arange(self.offsets[place], self.offsets[place + 1]) for place in positions.tolist()]
        chosen = np.concatenate([np.empty(0, np.int64), *rows])
        part = copy.copy(self)
        part.names = PackedStrings(self.names[place] for place in positions.tolist())
        part.image_ids, part.sizes = self.image_ids[positions], self.sizes[positions]
        part.offsets = np.concatenate([[0], np.cumsum(counts)])
        part.xyxy, part.labels, part.crowd = self.xyxy[chosen], self.labels[chosen], self.crowd[chosen]
        part.difficult, part.area = self.difficult[chosen], self.area[chosen]
        return part

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

    def sample(self, position: int, root: Path) -> Sample:
        """Reads an image and gives it its boxes. Raises DataError when its size is not the annotated one."""
        if not 0 <= position < len(self):
            raise IndexError(position)
        name = self.names[position]
        image = read_image(root / name)
        size = (image.shape[0], image.shape[1])
        annotated = (int(self.sizes[position, 0]), int(self.sizes[position, 1]))
        if all(annotated) and annotated != size:
            raise _wrong_size(str(root / name), annotated, size)
        if not all(annotated) and not self.normalised:
            self._check_late(position, str(root / name), size)
        boxes = self.boxes(position, size)
        return Sample(image, name, position, size, boxes=boxes, image_id=int(self.image_ids[position]))

    def class_counts(self, num_classes: int) -> np.ndarray:
        """(K,) int64: boxes of each label, crowds included."""
        return np.bincount(self.labels, minlength=num_classes)

    def describe(self, classes: Sequence[str], ids: Sequence[int]) -> str:
        """Counts of images, boxes and mended boxes, and a line a class: id in the files, label, name, boxes."""
        empty = int((np.diff(self.offsets) == 0).sum())
        lines = [f"{len(self)} images with {len(self.labels)} boxes; {empty} images without a box are kept"]
        if self.left_out:
            lines.append(f"{self.left_out} images without a box were left out (keep_empty: false)")
        if any(self.fixes):
            trimmed, clipped, dropped = self.fixes
            lines.append(f"boxes mended: {trimmed} rounded to the edge, {clipped} clipped, {dropped} dropped")
        if self.crowd.any() or self.difficult.any():
            lines.append(f"{int(self.crowd.sum())} crowd regions, {int(self.difficult.sum())} difficult boxes")
        lines.append(f"{'id':>6} {'label':>6}  {'boxes':>8}  class")
        for label, (name, own, count) in enumerate(zip(classes, ids, self.class_counts(len(classes)), strict=True)):
            lines.append(f"{own:>6} {label:>6}  {count:>8}  {name}")
        return "\n".join(lines)

    def _check_late(self, position: int, path: str, size: tuple[int, int]) -> None:
        """Boxes of an image whose size only the image knows."""
        own = self.xyxy[self.offsets[position] : self.offsets[position + 1]]
        beyond = (own[:, 2:] - np.array(size[::-1])).max(initial=0)
        if beyond > ROUNDING:
            message = f"a box reaches {beyond:g} pixels beyond the image of {size[1]}x{size[0]}"
            raise FileError(
                "box_outside",
                Problem(path, message, "give the image's size in the annotation, and set fix_boxes: clip"),
            )


def build_index(
    where: str,
    names: Sequence[str],
    image_ids: np.ndarray,
    sizes: np.ndarray,
    raw: RawBoxes,
    box_name: Callable[[int], str],
    problems: ProblemList,
    keep_empty: bool,
    fix_boxes: FixBoxes,
    normalised: bool = False,
) -> DetectionIndex:
    """Checks the boxes, raises DataError with all `problems` so far and these, and packs the rest.

    where: the file or folder that was read. box_name: file and object of box i. normalised: boxes are fractions.
    """
    if normalised:
        boxes, fixes = checked_boxes(raw, np.ones_like(sizes), fix_boxes, problems, box_name, ROUNDING_FRACTION)
    else:
        boxes, fixes = checked_boxes(raw, sizes, fix_boxes, problems, box_name)
    problems.stop_if_any(where, names)
    if not names:
        raise DataError(Problem(where, "the data set holds no images"))
    index = DetectionIndex(names, image_ids, sizes, boxes, fixes, keep_empty, normalised, problems.blamed)
    if not len(index) and len(problems.blamed) == len(names):
        raise DataError(Problem(where, f"something is wrong with every one of its {len(names)} images"))
    if not len(index):
        raise DataError(Problem(where, f"none of its {len(names)} images has a box", "set keep_empty: true"))
    return index


def _wrong_size(path: str, annotated: tuple[int, int], size: tuple[int, int]) -> FileError:
    message = (
        f"the image is {size[1]}x{size[0]}, but its boxes were drawn on {annotated[1]}x{annotated[0]} (width x height)"
    )
    if annotated == size[::-1] and exif_orientation(path) > 4:
        remedy = "its EXIF orientation turns it; save it without that tag, as the boxes see it"
        return FileError("image_size_exif", Problem(path, message, remedy))
    if annotated == size[::-1]:
        remedy = "height and width are exchanged: it was turned after the boxes were drawn (a lost EXIF orientation?)"
        return FileError("image_size", Problem(path, message, remedy))
    remedy = "use the image the annotation was made on, or correct the annotated size"
    return FileError("image_size", Problem(path, message, remedy))


class PackedStrings:
    """A read-only sequence of strings.

    Python writes a reference count into every object it looks at; of a list of a hundred thousand strings each
    forked worker therefore ends up with its own copy. Arrays stay shared.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        encoded = [string.encode("utf-8", "surrogateescape") for string in strings]
        self._ends = np.cumsum([len(piece) for piece in encoded], dtype=np.int64)
        self._bytes = np.frombuffer(b"".join(encoded), np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = int(self._ends[index - 1]) if index else 0
        return self._bytes[start : int(self._ends[index])].tobytes().decode("utf-8", "surrogateescape")
