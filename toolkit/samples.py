"""What travels between data, model, evaluator and writers. NamedTuples of plain arrays or tensors, nothing else.

Conventions, everywhere: images RGB; sizes are (height, width); boxes are xyxy in pixels, float32, x2/y2 exclusive
(a box over a whole 640x480 image is 0, 0, 640, 480); labels run 0..K-1 without a background class; pixels that do
not count have the label `IGNORE_INDEX`. What a model answers (`LabelMap`, `Detections` ...) is in `predictions.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from toolkit.labels import IGNORE_INDEX as IGNORE_INDEX
from toolkit.predictions import PREDICTION_NAMES as PREDICTION_NAMES
from toolkit.predictions import Detections as Detections
from toolkit.predictions import ImageScores as ImageScores
from toolkit.predictions import ImageValues as ImageValues
from toolkit.predictions import LabelMap as LabelMap
from toolkit.predictions import Prediction as Prediction
from toolkit.predictions import ValueMap as ValueMap


class Boxes(NamedTuple):
    """The objects of one image. N may be 0.

    Arrays are numpy in a `Sample` and a `Truth`, tensors in a `Batch`.

    Args:
        xyxy: (N, 4) float32 pixels, x2 and y2 exclusive.
        labels: (N,) int64 class of each object, 0..K-1.
        crowd: (N,) bool: a region holding many objects; never a target, a detection inside it is neither right nor wrong.
        difficult: (N,) bool: VOC's flag; no target unless asked for, neither right nor wrong at evaluation.
        area: (N,) float32 square pixels, as the annotation gives it (COCO sorts objects into small, medium, large by it).
    """

    xyxy: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    difficult: np.ndarray
    area: np.ndarray

    @staticmethod
    def of(xyxy: Sequence[Sequence[float]] | np.ndarray, labels: Sequence[int] | np.ndarray) -> Boxes:
        """Boxes without flags from N rows of x1, y1, x2, y2 in pixels and N labels; area is width times height.

        >>> Boxes.of([[0, 0, 4, 2]], [1]).area.tolist()
        [8.0]
        """
        boxes = np.asarray(xyxy, np.float32).reshape(-1, 4)
        count = len(boxes)
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        return Boxes(
            boxes, np.asarray(labels, np.int64).reshape(-1), np.zeros(count, bool), np.zeros(count, bool), area
        )

    @property
    def count(self) -> int:  # type: ignore[override]
        """How many objects: N. (`len` of a NamedTuple is its number of fields.)"""
        return len(self.xyxy)

    def relabelled(self, labels: np.ndarray, num_classes: int) -> Boxes:
        """The objects with other labels; what does not count becomes a crowd region of every class, behind the others.

        labels: (number of old classes,) int64 new label of each; `IGNORE_INDEX` does not count, -1 is left out.

        >>> old = Boxes.of([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 9, 9]], [0, 1, 2])
        >>> new = old.relabelled(np.array([1, -1, 255]), 2)
        >>> new.labels.tolist(), new.crowd.tolist()
        ([1, 0, 1], [False, True, True])
        """
        own = labels[self.labels]
        plain, ignored = np.flatnonzero((own >= 0) & (own != IGNORE_INDEX)), np.flatnonzero(own == IGNORE_INDEX)
        made = self.take(np.concatenate([plain, np.repeat(ignored, num_classes)]))
        count = len(plain)
        crowd, difficult = made.crowd.copy(), made.difficult.copy()
        crowd[count:], difficult[count:] = True, False
        every = np.tile(np.arange(num_classes), len(ignored))
        return made._replace(labels=np.concatenate([own[plain], every]), crowd=crowd, difficult=difficult)

    def take(self, keep: np.ndarray) -> Boxes:
        """The objects selected by a boolean or integer index."""
        return Boxes(*(field[keep] for field in (self.xyxy, self.labels, self.crowd, self.difficult, self.area)))


class Sample(NamedTuple):
    """One item of a data set, before or after augmentation.

    Args:
        image: (H, W, C) uint8, RGB for C = 3, gray for C = 1.
        name: the image's path relative to the data set's root, with `/`; used in messages and for output files.
        position: place in the data set, counted from 0.
        original_size: (height, width) in pixels as stored on disk.
        label_map: (H, W) uint8 class ids, `IGNORE_INDEX` where nothing counts.
        boxes: objects of the image, for detection.
        image_label: class id of the whole image, 0..K-1.
        image_values: (K,) float32 numbers of the whole image (regression).
        value_map: (H, W) float32, dense regression; NaN where unknown.
        weight_map: (H, W) float32 factor of each pixel's loss.
        image_id: the id the annotation file uses; -1 where it has none.
        halvings: times that the decoder halved the image, not the annotations, for the first transform that asked for it
            (`Transform.halvings`); 0 for everybody else.
    """

    image: np.ndarray
    name: str
    position: int
    original_size: tuple[int, int]
    label_map: np.ndarray | None = None
    boxes: Boxes | None = None
    image_label: int | None = None
    image_values: np.ndarray | None = None
    value_map: np.ndarray | None = None
    weight_map: np.ndarray | None = None
    image_id: int = -1
    halvings: int = 0


class Truth(NamedTuple):
    """What an evaluator compares with: the annotation of one image in original pixels, before any transform.

    Args:
        name: the image's path relative to the data set's root, with `/`.
        image_id: the id the annotation file uses, or the place in the data set.
        size: (height, width) in pixels as stored on disk.
        label_map: (H, W) uint8 class ids, `IGNORE_INDEX` where nothing counts.
        boxes: objects of the image, for detection.
        image_label: class id of the whole image, 0..K-1.
        image_values: (K,) float32 numbers of the whole image (regression).
        value_map: (H, W) float32, dense regression; NaN where unknown.
    """

    name: str
    image_id: int
    size: tuple[int, int]
    label_map: np.ndarray | None = None
    boxes: Boxes | None = None
    image_label: int | None = None
    image_values: np.ndarray | None = None
    value_map: np.ndarray | None = None

    @staticmethod
    def of(sample: Sample) -> Truth:
        """The truth of a sample that no transform has touched."""
        return Truth(
            sample.name,
            sample.image_id if sample.image_id >= 0 else sample.position,
            sample.original_size,
            sample.label_map,
            sample.boxes,
            sample.image_label,
            sample.image_values,
            sample.value_map,
        )


class Batch(NamedTuple):
    """N samples, padded at the right and bottom to one size. Absent annotations are None.

    Args:
        images: (N, C, H, W) uint8, 0 in the padding.
        sizes: (N, 2) int64 (height, width): the part of `images` that is image.
        original_sizes: (N, 2) int64 (height, width) in pixels as stored on disk.
        names: N paths relative to the data set's root.
        label_maps: (N, H, W) uint8 class ids, `IGNORE_INDEX` in the padding.
        boxes: N `Boxes` of tensors, in pixels of `images`.
        image_labels: (N,) int64 class of each image.
        image_values: (N, K) float32 numbers of each image.
        value_maps: (N, H, W) float32, NaN in the padding.
        weight_maps: (N, H, W) float32 factors of the loss, 0 in the padding.
        truths: N annotations in original pixels when evaluating, else none.
    """

    images: Tensor
    sizes: Tensor
    original_sizes: Tensor
    names: tuple[str, ...]
    label_maps: Tensor | None = None
    boxes: tuple[Boxes, ...] | None = None
    image_labels: Tensor | None = None
    image_values: Tensor | None = None
    value_maps: Tensor | None = None
    weight_maps: Tensor | None = None
    truths: tuple[Truth, ...] = ()

    @property
    def count(self) -> int:  # type: ignore[override]
        """How many images: N. (`len` of a NamedTuple is its number of fields.)"""
        return len(self.names)


def _pad_stack(arrays: Sequence[np.ndarray], size: tuple[int, int], fill: float) -> Tensor:
    """Arrays (H_i, W_i[, C]) into one (N, H, W[, C]) tensor of the same dtype, filled at the right and bottom."""
    if all(array.shape[:2] == size for array in arrays):
        # In a loader's worker straight into memory that the training process has too: the one copy there is.
        stacked_once: Tensor = default_collate([torch.from_numpy(_own(array)) for array in arrays])
        return stacked_once
    stacked = np.full((len(arrays), *size, *arrays[0].shape[2:]), fill, arrays[0].dtype)
    for target, array in zip(stacked, arrays, strict=True):
        target[: array.shape[0], : array.shape[1]] = array
    return torch.from_numpy(stacked)


def _own(array: np.ndarray) -> np.ndarray:
    """The array itself where PyTorch can take it, else a copy."""
    return array if array.flags.c_contiguous and array.flags.writeable else np.array(array, order="C")


def _box_tensors(boxes: Boxes) -> Boxes:
    return Boxes(*(torch.from_numpy(np.ascontiguousarray(field)) for field in tuple(boxes)))  # type: ignore[arg-type]


def by_size(batch: Batch) -> list[tuple[list[int], Batch]]:
    """The images of a batch in batches of equal sizes, without padding, each with the places they had.

    So no image's answer depends on which others it was read with. The batch itself where its images are of one size.

    >>> images, sizes = torch.zeros(3, 1, 4, 6), torch.tensor([[4, 6], [2, 3], [4, 6]])
    >>> groups = by_size(Batch(images, sizes, sizes, ("a", "b", "c")))
    >>> [(places, tuple(one.images.shape)) for places, one in groups]
    [([0, 2], (2, 1, 4, 6)), ([1], (1, 1, 2, 3))]
    """
    places: dict[tuple[int, int], list[int]] = {}
    for place, (height, width) in enumerate(batch.sizes.tolist()):
        places.setdefault((height, width), []).append(place)
    return [(group, _group(batch, group, size)) for size, group in places.items()]


def each_image(batch: Batch) -> Iterator[Batch]:
    """Every image of a batch as a batch of its own, without padding."""
    for place, (height, width) in enumerate(batch.sizes.tolist()):
        yield _group(batch, [place], (height, width))


def _group(batch: Batch, places: list[int], size: tuple[int, int]) -> Batch:
    """Some images of a batch, all of one size, cut to it."""
    if len(places) == batch.count and size == tuple(batch.images.shape[-2:]):
        return batch
    height, width = size

    def chosen(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[places]
        return tuple(value[place] for place in places) if value else value

    fields = {name: chosen(value) for name, value in batch._asdict().items()}
    cut = {name: fields[name][:, :height, :width] for name in _MAPS if fields[name] is not None}
    return Batch(**{**fields, **cut, "images": fields["images"][..., :height, :width]})


_MAPS = ("label_maps", "value_maps", "weight_maps")
"""The fields of a batch with a number a pixel, (N, H, W)."""


def collate(samples: Sequence[Sample], truths: Sequence[Truth] = ()) -> Batch:
    """Samples of possibly different sizes into a `Batch`. Every sample must carry the same kinds of annotation.

    Raises ValueError when the samples mix channel counts, or when only some carry an annotation.
    """
    size = (max(s.image.shape[0] for s in samples), max(s.image.shape[1] for s in samples))
    if len({s.image.shape[2] for s in samples}) > 1:
        raise ValueError(f"a batch mixes channel counts: {[(s.name, s.image.shape[2]) for s in samples]}")

    def all_or_none(field: str) -> bool:
        have = [getattr(s, field) is not None for s in samples]
        if any(have) and not all(have):
            lacking = [s.name for s, has in zip(samples, have, strict=True) if not has]
            raise ValueError(f"a batch mixes samples with and without '{field}'; without: {', '.join(lacking)}")
        return all(have)

    def maps(field: str, fill: float) -> Tensor | None:
        return _pad_stack([getattr(s, field) for s in samples], size, fill) if all_or_none(field) else None

    return Batch(
        # A transposed view: the bytes stay channels-last, which is how the decoder wrote them.
        images=_pad_stack([s.image for s in samples], size, 0).permute(0, 3, 1, 2),
        sizes=torch.tensor([s.image.shape[:2] for s in samples]),
        original_sizes=torch.tensor([s.original_size for s in samples]),
        names=tuple(s.name for s in samples),
        label_maps=maps("label_map", IGNORE_INDEX),
        boxes=tuple(_box_tensors(s.boxes) for s in samples if s.boxes is not None) if all_or_none("boxes") else None,
        image_labels=torch.tensor([s.image_label for s in samples]) if all_or_none("image_label") else None,
        image_values=(
            torch.from_numpy(np.stack([s.image_values for s in samples if s.image_values is not None]))
            if all_or_none("image_values")
            else None
        ),
        value_maps=maps("value_map", float("nan")),
        weight_maps=maps("weight_map", 0.0),
        truths=tuple(truths),
    )
