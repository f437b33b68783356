"""Transforms that make one sample of several: mosaic, copy-paste, CutMix and, for boxes, mixup.

The other samples are a pure function of the seed, as everything random is, and come as the transforms before this one in
the row leave them: a training goes on to the bit, whatever the number of workers. Labels stay hard: each pixel has the
class of the picture it comes from.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np

from toolkit.bounds import PositiveFloat, PositiveInt, Probability
from toolkit.contracts import TRANSFORMS, Draw, MixingTransform
from toolkit.data.transforms.augment import resized, window_of
from toolkit.data.transforms.box_geometry import MIN_VISIBLE
from toolkit.data.transforms.rare_class_crop import labels_of
from toolkit.errors import DataError, Problem
from toolkit.samples import IGNORE_INDEX, Boxes, Sample


class _Mixing(MixingTransform):
    """What the transforms here share: a probability, and that whole pictures' labels cannot be mixed."""

    random = True
    moves = True
    p: float = 1.0

    def mixed(self, sample: Sample, seed: int, draw: Draw) -> Sample:
        """See `MixingTransform`. Raises DataError for samples whose label is of the whole picture."""
        if sample.image_label is not None or sample.image_values is not None:
            name = TRANSFORMS.name_of(type(self))
            message = f"transform '{name}' makes one picture of several, which has no single label"
            raise DataError(Problem(sample.name, message, "leave it out: it is for label maps and boxes"))
        generator = Random(seed)
        return self._mix(sample, generator, draw) if generator.random() < self.p else self.alone(sample)

    def alone(self, sample: Sample) -> Sample:
        """What becomes of a sample that is not mixed."""
        return sample

    @abstractmethod
    def _mix(self, sample: Sample, generator: Random, draw: Draw) -> Sample:
        """The sample made of it and others.

        Args:
            sample: the sample itself.
            generator: where every random number comes from.
            draw: gives another sample for a number.
        """


@TRANSFORMS.register("mosaic")
class Mosaic(_Mixing):
    """Four pictures around a point, each scaled to fit and cut where its quarter ends (Bochkovskiy et al. 2020, "YOLOv4").

    The point lies in the middle half of the new picture; each picture is scaled to the new size, its shape kept, and laid
    with a corner to the point. What no picture covers does not count.

    Args:
        height: height of the new picture in pixels.
        width: width of the new picture in pixels.
        p: probability, 0..1, of four pictures; else the picture alone is scaled to fit and padded.
    """

    def __init__(self, height: PositiveInt, width: PositiveInt, p: Probability = 1.0) -> None:
        self.size, self.p = (height, width), p

    def alone(self, sample: Sample) -> Sample:
        """The picture scaled to fit, padded at the right and bottom."""
        return window_of(_fitted(sample, self.size), 0, 0, *self.size)

    def _mix(self, sample: Sample, generator: Random, draw: Draw) -> Sample:
        """See `_Mixing`."""
        height, width = self.size
        y, x = (round(generator.uniform(0.25, 0.75) * side) for side in self.size)
        samples = [sample, *(draw(generator.getrandbits(62)) for _ in range(3))]
        canvas = _empty(sample, self.size)
        for place, one in enumerate(samples):
            below, right = divmod(place, 2)
            part = _fitted(one, self.size)
            room = (height - y if below else y, width - x if right else x)
            inside = (min(room[0], part.image.shape[0]), min(room[1], part.image.shape[1]))
            if 0 in inside:
                continue
            from_top = 0 if below else part.image.shape[0] - inside[0]
            from_left = 0 if right else part.image.shape[1] - inside[1]
            piece = window_of(part, from_top, from_left, *inside)
            canvas = _laid(canvas, piece, y if below else y - inside[0], x if right else x - inside[1])
        return canvas


@TRANSFORMS.register("cutmix")
class CutMix(_Mixing):
    """A rectangle of another picture at its own place (Yun et al. 2019, "CutMix", section 3.1).

    Its share of the area is 1 - lambda with lambda from Beta(alpha, alpha). Boxes that it covers nearly whole are dropped,
    those of the other picture are cut to it.

    Args:
        alpha: of the Beta distribution; 1 draws every share of the area equally often.
        p: probability, 0..1, that a sample is mixed.
    """

    def __init__(self, alpha: PositiveFloat = 1.0, p: Probability = 0.5) -> None:
        self.alpha, self.p = alpha, p

    def _mix(self, sample: Sample, generator: Random, draw: Draw) -> Sample:
        """See `_Mixing`."""
        height, width = sample.image.shape[:2]
        other = window_of(draw(generator.getrandbits(62)), 0, 0, height, width)
        side = (1 - generator.betavariate(self.alpha, self.alpha)) ** 0.5
        tall, wide = max(1, round(side * height)), max(1, round(side * width))
        top, left = generator.randint(0, height - tall), generator.randint(0, width - wide)
        return _laid(sample, window_of(other, top, left, tall, wide), top, left)


@TRANSFORMS.register("copy_paste")
class CopyPaste(_Mixing):
    """Things of another picture laid over this one (Ghiasi et al. 2021, "Simple copy-paste", section 3).

    Label maps: the pixels of some of the other picture's classes. Boxes: the rectangles of some of its objects, since
    nobody knows which of their pixels are background. What they cover nearly whole is dropped.

    Args:
        classes: names or labels of what may be pasted; null: every class of boxes, and all but label 0 of label maps.
        share: probability, 0..1, of each class, or each box, of the other picture to be pasted.
        p: probability, 0..1, that a sample is mixed.
        class_names: names of the labels; the config fills them in from the data.
    """

    def __init__(
        self,
        classes: list[int | str] | None = None,
        share: Probability = 0.5,
        p: Probability = 0.5,
        class_names: list[str] | None = None,
    ) -> None:
        self.labels = None if classes is None else labels_of(classes, class_names)
        self.share, self.p = share, p

    def _mix(self, sample: Sample, generator: Random, draw: Draw) -> Sample:
        """See `_Mixing`."""
        height, width = sample.image.shape[:2]
        other = window_of(draw(generator.getrandbits(62)), 0, 0, height, width)
        if other.boxes is not None:
            chosen = [
                n
                for n in range(other.boxes.count)
                if self._may(int(other.boxes.labels[n])) and self._is_drawn(generator)
            ]
            boxes = other.boxes.take(np.array(chosen, np.int64))
            return _pasted(sample, other._replace(boxes=boxes), _covered(boxes, (height, width)))
        if other.label_map is None:
            raise DataError(Problem(other.name, "has neither boxes nor a label map, so nothing can be pasted of it"))
        held = [label for label in np.unique(other.label_map).tolist() if label != IGNORE_INDEX]
        held = [label for label in held if self._may(label, background=0) and self._is_drawn(generator)]
        return _pasted(sample, other, np.isin(other.label_map, held))

    def _may(self, label: int, background: int | None = None) -> bool:
        return label != background if self.labels is None else label in self.labels

    def _is_drawn(self, generator: Random) -> bool:
        return generator.random() < self.share


@TRANSFORMS.register("mixup")
class Mixup(_Mixing):
    """Two pictures blended, with the boxes of both (Zhang et al. 2019, "Bag of freebies for object detection", section 3.1).

    The weight of the picture itself is drawn from Beta(alpha, alpha). For boxes only: a blended pixel has no one class.

    Args:
        alpha: of the Beta distribution; the larger, the nearer the two weights are to one half each.
        p: probability, 0..1, that a sample is mixed.
    """

    def __init__(self, alpha: PositiveFloat = 1.5, p: Probability = 0.5) -> None:
        self.alpha, self.p = alpha, p

    def _mix(self, sample: Sample, generator: Random, draw: Draw) -> Sample:
        """See `_Mixing`."""
        if sample.boxes is None or sample.label_map is not None or sample.value_map is not None:
            message = "transform 'mixup' blends pictures, and a blended pixel has no one class or value"
            raise DataError(
                Problem(sample.name, message, "it is for boxes; cutmix, mosaic and copy_paste keep pixels whole")
            )
        other = window_of(draw(generator.getrandbits(62)), 0, 0, *sample.image.shape[:2])
        weight = generator.betavariate(self.alpha, self.alpha)
        blended = weight * sample.image.astype(np.float32) + (1 - weight) * other.image
        boxes = sample.boxes if other.boxes is None else _together([sample.boxes, other.boxes])
        return sample._replace(image=np.rint(blended).astype(np.uint8), boxes=boxes)


# --------------------------------------------------------------------------- pieces of pictures


def _fitted(sample: Sample, size: tuple[int, int]) -> Sample:
    """Scaled, its shape kept, to the largest that fits into (height, width)."""
    height, width = sample.image.shape[:2]
    factor = min(size[0] / height, size[1] / width)
    return resized(sample, max(1, min(size[0], round(height * factor))), max(1, min(size[1], round(width * factor))))


def _empty(sample: Sample, size: tuple[int, int]) -> Sample:
    """A picture of that (height, width) in which nothing counts, with the kinds of annotation that a sample has."""
    fills = (("label_map", IGNORE_INDEX), ("value_map", float("nan")), ("weight_map", 0.0))
    maps: dict[str, Any] = {
        name: np.full(size, fill, getattr(sample, name).dtype)
        for name, fill in fills
        if getattr(sample, name) is not None
    }
    boxes = None if sample.boxes is None else sample.boxes.take(np.zeros(0, np.int64))
    return sample._replace(image=np.zeros((*size, sample.image.shape[2]), np.uint8), boxes=boxes, **maps)


def _laid(below: Sample, piece: Sample, top: int, left: int) -> Sample:
    """A piece laid over a picture, its upper left corner at (top, left), inside of it."""
    height, width = piece.image.shape[:2]
    size = (below.image.shape[0], below.image.shape[1])
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    whole = _empty(below, size)
    fields: dict[str, Any] = {}
    for name in ("image", "label_map", "value_map", "weight_map"):
        if getattr(whole, name) is not None and getattr(piece, name) is not None:
            fields[name] = getattr(whole, name)
            fields[name][top : top + height, left : left + width] = getattr(piece, name)
    boxes = piece.boxes
    if boxes is not None:
        boxes = boxes._replace(xyxy=boxes.xyxy + np.array([left, top, left, top], np.float32))
    return _pasted(below, whole._replace(boxes=boxes, **fields), mask)


def _pasted(below: Sample, above: Sample, mask: np.ndarray) -> Sample:
    """The pixels of one picture where the mask is, of the other elsewhere; boxes that are nearly covered are dropped.

    Args:
        below: the picture underneath.
        above: the picture on top, of the same size, with the boxes that come along.
        mask: (H, W) bool.
    """
    fields: dict[str, np.ndarray | None] = {}
    for name in ("image", "label_map", "value_map", "weight_map"):
        one, other = getattr(below, name), getattr(above, name)
        if one is not None and other is not None:
            fields[name] = np.where(mask[..., None] if one.ndim == 3 else mask, other, one)
    boxes = below.boxes
    if boxes is not None:
        boxes = _together(
            [boxes.take(_visible(boxes, mask) >= MIN_VISIBLE), *([] if above.boxes is None else [above.boxes])]
        )
    return below._replace(boxes=boxes, **fields)  # type: ignore[arg-type]


def _visible(boxes: Boxes, mask: np.ndarray) -> np.ndarray:
    """(N,) share of each box that a mask leaves."""
    sums = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    left, top, right, bottom = np.rint(cut_to(boxes.xyxy, mask.shape)).astype(int).T
    covered = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return 1 - covered / np.maximum((bottom - top) * (right - left), 1)


def cut_to(xyxy: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(N, 4) corners inside a picture of (height, width).

    >>> cut_to(np.array([[-1.0, 2, 9, 9]]), (4, 6)).tolist()
    [[0.0, 2.0, 6.0, 4.0]]
    """
    return np.clip(xyxy, 0, np.array([size[1], size[0], size[1], size[0]]))


def _covered(boxes: Boxes, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: the pixels of some boxes, those at the edges as well."""
    mask = np.zeros(size, bool)
    for left, top, right, bottom in boxes.xyxy.tolist():
        mask[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = True
    return mask


def _together(parts: Sequence[Boxes]) -> Boxes:
    return Boxes(*(np.concatenate(fields) for fields in zip(*map(tuple, parts), strict=True)))  # type: ignore[arg-type]
