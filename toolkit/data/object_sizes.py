"""How large the objects of a data set are, as a model sees them: what tiles of a large picture must overlap by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from toolkit.contracts import Dataset, Transform
from toolkit.data.formats.boxed import BoxDataset
from toolkit.errors import UserError
from toolkit.samples import Boxes, Sample

SHARES = (0.5, 0.9, 0.99, 0.999, 1.0)
"""Shares of the objects whose sizes are kept."""
_IMAGES, _READ, _TRIED = 4000, 200, 16
"""Images whose boxes are looked at; those of formats whose images must be read for that; sizes that are transformed."""


class ObjectSizes(NamedTuple):
    """Sides of objects in pixels of the picture that enters the net in an evaluation.

    Args:
        objects: how many objects were measured in all.
        heights: what the heights of these `SHARES` of the objects do not exceed.
        widths: the same of the widths.
    """

    objects: int
    heights: tuple[float, ...]
    widths: tuple[float, ...]

    @property
    def usual(self) -> tuple[float, float]:
        """Height and width that 999 of 1,000 objects do not exceed."""
        return self.heights[3], self.widths[3]

    @property
    def largest(self) -> tuple[float, float]:
        """Height of the highest and width of the widest object."""
        return self.heights[-1], self.widths[-1]

    def plain(self) -> dict[str, Any]:
        """For a file: lists and numbers by name."""
        return {"objects": self.objects, "heights": list(self.heights), "widths": list(self.widths)}

    @staticmethod
    def read(value: Any) -> ObjectSizes | None:
        """What `plain` gave; None for anything else, which a file of somebody may hold."""
        if not isinstance(value, dict) or type(value.get("objects")) is not int:
            return None
        heights, widths = _sides(value.get("heights")), _sides(value.get("widths"))
        return ObjectSizes(value["objects"], heights, widths) if heights and widths else None


def _sides(value: Any) -> tuple[float, ...]:
    """A pixel count for each of the shares; () for anything else."""
    sound = isinstance(value, list) and len(value) == len(SHARES)
    return (
        tuple(map(float, value)) if sound and all(type(one) in (int, float) and 0 < one < 1e7 for one in value) else ()
    )


def object_sizes(dataset: Dataset, transforms: Sequence[Transform] = ()) -> ObjectSizes | None:
    """Measures the objects of a data set; None where it has none. Crowds and difficult objects are left out.

    At most 4,000 images are looked at, evenly spread, 200 where the images must be read for their boxes.

    Args:
        dataset: of boxes, as it is trained on.
        transforms: those of an evaluation; what they do to sizes is tried on blank pictures.
    """
    indexed = isinstance(dataset, BoxDataset) and bool(dataset.image_sizes().all())
    places = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), _IMAGES if indexed else _READ)).round())
    sizes, sides = [], []
    for place in places.astype(int).tolist():
        try:
            boxes, size = _boxes_and_size(dataset, place, indexed)
        except UserError:  # other checks name it
            continue
        if boxes is None:
            continue
        own = boxes.xyxy[~(boxes.crowd | boxes.difficult)].astype(np.float64)
        sides.append(own[:, [3, 2]] - own[:, [1, 0]])
        sizes += [size] * len(own)
    if not sizes:
        return None
    found = np.concatenate(sides) * _factors(dataset.channels, np.array(sizes), transforms)
    found = found[(found > 0).all(1)]
    if not len(found):
        return None
    heights, widths = np.quantile(found, SHARES, axis=0, method="higher").round(2).T.tolist()
    return ObjectSizes(len(found), tuple(heights), tuple(widths))


def _boxes_and_size(dataset: Dataset, place: int, indexed: bool) -> tuple[Boxes | None, tuple[int, int]]:
    """Boxes of an image, and its height and width."""
    if indexed and isinstance(dataset, BoxDataset):
        height, width = dataset.image_sizes()[place].tolist()
        return dataset.boxes_of(place), (height, width)
    sample = dataset[place]
    return sample.boxes, (sample.image.shape[0], sample.image.shape[1])


def _factors(channels: int, sizes: np.ndarray, transforms: Sequence[Transform]) -> np.ndarray:
    """(M, 2) by what heights and widths in pictures of the sizes (M, 2) are multiplied."""
    geometric = [transform for transform in transforms if transform.geometric]
    if not geometric:
        return np.ones((len(sizes), 2))
    own, owners = np.unique(sizes, axis=0, return_inverse=True)
    tried = own[np.unique(np.linspace(0, len(own) - 1, min(len(own), _TRIED)).round().astype(int))]
    factors = np.array([_factor(channels, size, geometric) for size in tried.tolist()])
    nearest = np.abs(np.log(own[:, None] / tried)).sum(2).argmin(1)  # of very many sizes the next one stands for some
    return factors[nearest][owners.reshape(-1)]


def _factor(channels: int, size: Sequence[int], transforms: Sequence[Transform]) -> tuple[float, float]:
    """What transforms make of a box in the middle of a blank picture: its height and width by what they were."""
    height, width = size
    box = np.array([[width * 0.4, height * 0.4, width * 0.6, height * 0.6]], np.float32)
    sample = Sample(
        np.zeros((height, width, channels), np.uint8), "blank", 0, (height, width), boxes=Boxes.of(box, [0])
    )
    try:
        for transform in transforms:
            sample = transform(sample, 0)
    except UserError:
        return 1.0, 1.0
    if sample.boxes is None or not sample.boxes.count:
        return 1.0, 1.0
    x1, y1, x2, y2 = sample.boxes.xyxy[0].tolist()
    return (y2 - y1) / (height * 0.2), (x2 - x1) / (width * 0.2)
