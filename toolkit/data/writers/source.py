"""A data set as annotated images, whatever its format: boxes, outlines or label maps, as it knows them itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.contracts import Dataset
from toolkit.data.formats.boxed import BoxDataset
from toolkit.data.formats.outlined import OutlinedDataset
from toolkit.data.formats.outlines import Outline, object_mask
from toolkit.data.images.read import image_size
from toolkit.data.writers.annotated import IGNORED, Annotated
from toolkit.data.writers.folder import Content
from toolkit.errors import DataError, Problem
from toolkit.labels import ClassTable, background_labels
from toolkit.samples import Boxes


class Source(NamedTuple):
    """What a data set is, before any image is opened but the first.

    Args:
        content: boxes, outlines or label maps.
        classes: names, colours and ids of the labels.
        background: label of the pixels of no object, None where every pixel has a class.
    """

    content: Content
    classes: ClassTable
    background: int | None


def source_of(dataset: Dataset) -> Source:
    """What a data set is. Raises DataError for one without boxes or classes of pixels."""
    names = tuple(dataset.classes)
    table = ClassTable(names, tuple(dataset.palette), tuple(dataset.category_ids) if _has_ids(dataset) else ())
    if isinstance(dataset, BoxDataset):
        return Source("boxes", table, None)
    if isinstance(dataset, OutlinedDataset):
        background = dataset.drawing.background
        return Source("outlines", table, None if background == "ignore" else names.index(background))
    sample = dataset[0]
    if sample.boxes is not None:
        return Source("boxes", table, None)
    if sample.label_map is None:
        remedy = "class folders and numbers have no other form"
        raise DataError(Problem(dataset.root, "has neither boxes nor classes of pixels to convert", remedy))
    behind = [label for label in background_labels(names) if label == 0 or names[label] == "background"]
    return Source("label_maps", table, behind[0] if behind else None)


def _has_ids(dataset: Dataset) -> bool:
    """Whether numbers of classes or images are the source's own, and not only counted from 0 or 1."""
    count = len(dataset.classes)
    counted = dataset.category_ids in ((), tuple(range(count)), tuple(range(1, count + 1)))
    if not isinstance(dataset, BoxDataset):
        return not counted
    return not counted or not np.array_equal(np.sort(dataset.index.image_ids), np.arange(len(dataset)))


def annotated_images(dataset: Dataset, source: Source, pictures: list[str], *, drawn: bool) -> Iterator[Annotated]:
    """Every image with its annotation, in the data set's order; raises DataError where one cannot be read.

    Args:
        dataset: the data set whose samples are read.
        source: what `source_of` says of it.
        pictures: what each picture is called in the written set.
        drawn: whether outlines are wanted as label maps too.
    """
    for index, picture in enumerate(pictures):
        files = dataset.files(index)
        if source.content == "boxes" and isinstance(dataset, BoxDataset):
            size = image_size(files[0])
            number = int(dataset.index.image_ids[index]) if source.classes.ids else -1
            yield _boxed(Annotated(picture, size, image_id=number), dataset.index.boxes(index, size), source)
        elif isinstance(dataset, OutlinedDataset):
            yield _outlined(dataset, index, picture, image_size(files[0]), drawn=drawn)
        else:
            sample = dataset[index]
            image = Annotated(picture, sample.original_size, label_map=sample.label_map, image_id=sample.image_id)
            yield image if sample.boxes is None else _boxed(image, sample.boxes, source)


def _boxed(image: Annotated, boxes: Boxes, source: Source) -> Annotated:
    corners = boxes.xyxy.astype(np.float64).tolist()
    rows = zip(corners, boxes.labels.tolist(), boxes.crowd.tolist(), strict=True)
    objects = [
        Outline(source.classes.names[label], box=(x1, y1, x2, y2), crowd=crowd)
        for (x1, y1, x2, y2), label, crowd in rows
    ]
    return image._replace(objects=tuple(objects), difficult=tuple(boxes.difficult.tolist()))


def _outlined(dataset: OutlinedDataset, index: int, picture: str, size: tuple[int, int], *, drawn: bool) -> Annotated:
    outlines, labels = dataset.outlines(index, size)
    names = [dataset.classes[label] if label < len(dataset.classes) else IGNORED for label in labels]
    objects = [one._replace(label=name) for one, name in zip(outlines, names, strict=True)]
    if dataset.drawing.overlaps == "larger_first":
        from_large = np.argsort([-int(object_mask(one, size).sum()) for one in objects], kind="stable").tolist()
        objects = [objects[place] for place in from_large]
    label_map = dataset.draw(index, size) if drawn else None
    return Annotated(picture, size, tuple(objects), label_map=label_map, image_id=int(dataset.image_ids[index]))


def is_shared(dataset: Dataset) -> list[bool]:
    """For each sample whether its picture is a part of a file that others share, or no file at all."""
    files = [dataset.files(index)[:1] for index in range(len(dataset))]
    seen: dict[tuple[Path, ...], int] = {}
    for one in files:
        seen[one] = seen.get(one, 0) + 1
    return [not one or seen[one] > 1 for one in files]
