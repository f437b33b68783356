"""What the training transforms make of images of known sizes, and of the boxes in them, tried on blank pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from toolkit.contracts import Dataset, Transform
from toolkit.data.formats.boxed import BoxDataset
from toolkit.data.loading.batches import StepBatches
from toolkit.data.seeds import mix, sample_seed
from toolkit.data.transforms.pipeline import transform_name
from toolkit.errors import DataError, Problem, UserError
from toolkit.preflight.data.files import spread, stored_sizes
from toolkit.preflight.findings import Report
from toolkit.samples import Boxes, Sample

Size = tuple[int, int]

LOOKED_AT = 24
"""Images of the first batches whose way through the transforms is tried."""
_USUAL: Size = (480, 640)
"""Size of a picture when there are none to ask."""


class GeometryTrace(NamedTuple):
    """One image on its way.

    Args:
        name: name of the sample on its way.
        before: (height, width) as stored, in pixels.
        after: (height, width) as the model gets it, in pixels.
        steps: transform's name, size before it and size after it, one a transform.
    """

    name: str
    before: Size
    after: Size
    steps: tuple[tuple[str, Size, Size], ...]


class SeenBoxes(NamedTuple):
    """Objects as the model will see them.

    Args:
        xyxy: (M, 4) float64 pixels of the image the model gets.
        labels: (M,) class of each box, 0..K-1.
        sizes: (M, 2) height and width of the image of each box.
    """

    xyxy: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray


def trace_geometry(sample: Sample, transforms: Sequence[Transform], seed: int) -> tuple[GeometryTrace, Sample]:
    """A sample through the transforms that change its geometry, each with the seed that training gives it.

    Raises DataError naming the transform that cannot take the image.

    Args:
        sample: the sample as read, or a blank one of its size.
        transforms: transforms of the training, in their order.
        seed: the sample's seed in its epoch (`sample_seed`).
    """
    first, steps = _size(sample), []
    for place, transform in enumerate(transforms):
        if not transform.geometric:
            continue
        before = _size(sample)
        sample = transform(sample, mix(seed, place))
        name = transform_name(transform)
        if 0 in sample.image.shape:
            raise DataError(Problem(sample.name, f"is an empty image after '{name}'"))
        steps.append((name, before, _size(sample)))
    return GeometryTrace(sample.name, first, _size(sample), tuple(steps)), sample


def blank_sample(dataset: Dataset, position: int, size: Size, like: Sample) -> Sample:
    """A black picture of a size, with the kinds of annotation that `like`, a real sample of the data set, has.

    Args:
        dataset: the data set the sample belongs to.
        position: place of the sample in its data set, from 0.
        size: (height, width) of the picture in pixels.
        like: a real sample of the data set, for the kinds of its annotation.
    """
    index = dataset.index if isinstance(dataset, BoxDataset) else None
    empty = Boxes.of(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    return Sample(
        np.zeros((*size, like.image.shape[2]), np.uint8),
        index.names[position] if index is not None else f"image {position} ({size[0]}x{size[1]})",
        position,
        size,
        label_map=None if like.label_map is None else np.zeros(size, np.uint8),
        boxes=None if like.boxes is None else index.boxes(position, size) if index is not None else empty,
        value_map=None if like.value_map is None else np.zeros(size, np.float32),
    )


def trace_images(
    dataset: Dataset,
    transforms: Sequence[Transform],
    seed: int,
    keys: Iterable[tuple[int, int]],
    sizes: dict[int, Size],
    like: Sample,
) -> list[GeometryTrace]:
    """The way of the images (epoch, position) whose size is known. Raises DataError as `trace_geometry`.

    Args:
        dataset: the data set the images belong to.
        transforms: transforms of the training, in their order.
        seed: the config's seed, which every sample's is made from.
        keys: (epoch, position) of each image that is followed.
        sizes: (height, width) by position, where it is known.
        like: a real sample of the data set, for the kinds of its annotation.
    """
    chosen = [(epoch, position) for epoch, position in keys if position in sizes]
    return [
        trace_geometry(blank_sample(dataset, p, sizes[p], like), transforms, sample_seed(seed, epoch, p))[0]
        for epoch, p in chosen
    ]


def boxes_seen(dataset: Dataset, transforms: Sequence[Transform], seed: int, limit: int = 300) -> SeenBoxes:
    """The targets of at most `limit` images, evenly spread, after the transforms of epoch 0; crowds and difficult
    objects, and what has no area, left out.

    The pictures are blank where the annotation gives their sizes, and read where it does not. Images that cannot be
    read or transformed are left out: other checks name them.

    Args:
        dataset: the data set that is trained on.
        transforms: transforms of the training, in their order.
        seed: the config's seed, which every sample's is made from.
        limit: largest number of images that are looked at.
    """
    sizes = dataset.image_sizes()
    found: list[tuple[Boxes, Size]] = []
    like = Sample(np.zeros((1, 1, 3), np.uint8), "", 0, (1, 1), boxes=Boxes.of([], []))
    for position in spread(len(dataset), limit):
        try:
            if sizes is not None and isinstance(dataset, BoxDataset) and np.all(sizes[position]):
                height, width = sizes[position].tolist()
                sample = blank_sample(dataset, position, (height, width), like)
            else:
                sample = dataset[position]
            sample = trace_geometry(sample, transforms, sample_seed(seed, 0, position))[1]
        except UserError:
            continue
        if sample.boxes is not None:
            found.append((sample.boxes, _size(sample)))
    return _targets(found)


def _targets(found: Sequence[tuple[Boxes, Size]]) -> SeenBoxes:
    if not found:
        return SeenBoxes(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros((0, 2), np.int64))
    xyxy = np.concatenate([boxes.xyxy for boxes, _ in found]).astype(np.float64)
    labels = np.concatenate([boxes.labels for boxes, _ in found])
    sizes = np.concatenate([np.tile(np.array(size), (boxes.count, 1)) for boxes, size in found])
    unclear = np.concatenate([boxes.crowd | boxes.difficult for boxes, _ in found])
    keep = ~unclear & (xyxy[:, 2:] > xyxy[:, :2]).all(1)
    return SeenBoxes(xyxy[keep], labels[keep], sizes[keep])


def _size(sample: Sample) -> Size:
    return sample.image.shape[0], sample.image.shape[1]


def first_traces(
    report: Report,
    dataset: Dataset,
    transforms: Sequence[Transform],
    seed: int,
    like: Sample,
    batch_size: int,
    groups: np.ndarray | None = None,
) -> list[list[GeometryTrace]]:
    """The ways of the first batches' images through the transforms; then those of the smallest and largest images.

    Args:
        report: takes what is found, as errors.
        dataset: the data set that is trained on.
        transforms: transforms of the split, in their order.
        seed: seed of the training, from which the order and the transforms' draws follow.
        like: a real sample of the data set, for the kinds of its annotation.
        batch_size: number of images of a batch.
        groups: groups of images that share batches, as `train_loader` takes them; None for none.
    """
    sizes = stored_sizes(dataset) or {like.position: like.original_size}
    count = max(1, LOOKED_AT // batch_size)
    order = StepBatches(len(dataset), min(batch_size, LOOKED_AT), seed, 0, count, groups=groups)
    batches = [
        report.attempt("transforms", trace_images, dataset, transforms, seed, keys, sizes, like) for keys in order
    ]
    found = [batch for batch in batches if batch]
    if not found and all(batch is not None for batch in batches):  # none of those was looked at
        keys = [(0, position) for position in list(sizes)[:LOOKED_AT]]
        rest = report.attempt("transforms", trace_images, dataset, transforms, seed, keys, sizes, like)
        found = [rest] if rest else []
    extremes = {pick(sizes, key=lambda p: (sizes[p][side], p)) for pick in (min, max) for side in (0, 1)}
    for position in sorted(extremes):
        sample = blank_sample(dataset, position, sizes[position], like)
        way = report.attempt("transforms", trace_geometry, sample, transforms, sample_seed(seed, 0, position))
        if way is not None and len(set(sizes.values())) > 1:
            found.append([way[0]])
    return found


def traces_of_some(
    report: Report, dataset: Dataset, transforms: Sequence[Transform], like: Sample, some: int = 8
) -> list[GeometryTrace]:
    """The ways of some images, evenly spread, and of the largest by area, height and width, as an evaluation sees them.

    Args:
        report: takes an error for each transform that cannot take one of them.
        dataset: whose images' sizes are looked up, none of which is decoded.
        transforms: of the split, none of them random.
        like: a real sample, whose kinds of annotation the blank ones get.
        some: how many are spread over the data set; the largest come on top.
    """
    sizes = stored_sizes(dataset) or {like.position: like.original_size}
    keys = (lambda p: sizes[p][0] * sizes[p][1], lambda p: sizes[p][0], lambda p: sizes[p][1])
    known = sorted(sizes)
    chosen = dict.fromkeys([known[place] for place in spread(len(known), some)] + [max(known, key=key) for key in keys])
    found = []
    for position in chosen:
        sample = blank_sample(dataset, position, sizes[position], like)
        way = report.attempt("transforms", trace_geometry, sample, transforms, 0)
        found += [way[0]] if way is not None else []
    return found


def usual_size(transforms: Sequence[Transform], channels: int) -> Size:
    """What the transforms make of an ordinary picture, for a config whose data cannot be read."""
    height, width = _USUAL
    sample = Sample(np.zeros((height, width, channels), np.uint8), "", 0, _USUAL, np.zeros(_USUAL, np.uint8))
    try:
        return trace_geometry(sample, transforms, 0)[0].after
    except UserError:
        return _USUAL
