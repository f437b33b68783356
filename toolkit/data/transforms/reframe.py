"""Pictures in a new frame: a random part scaled to a size, scaled far up or down, turned by right angles."""

from __future__ import annotations

import math
from random import Random
from typing import Literal

import numpy as np

from toolkit.bounds import PositiveFloat, PositiveInt, Probability
from toolkit.contracts import TRANSFORMS, Transform
from toolkit.data.transforms.augment import resized, window_of
from toolkit.errors import ConfigError, Problem
from toolkit.samples import Boxes, Sample

_TRIES = 10
"""Times that a part is drawn before the whole picture is taken (torchvision's RandomResizedCrop)."""


@TRANSFORMS.register("crop_and_resize")
class CropAndResize(Transform):
    """A random part of the picture, scaled to (height, width): Szegedy et al. 2015, "Going deeper with convolutions", section 6.

    The part has a share of the area and a shape that are drawn evenly, the shape on a logarithmic scale, as torchvision's
    RandomResizedCrop does.

    Args:
        height: pixels from top to bottom after the transform.
        width: pixels from left to right after the transform.
        area: smallest and largest share of the picture's area, 0..1.
        ratio: smallest and largest width divided by height of the part.
        p: probability, 0..1, of a part; else the whole picture is scaled.
    """

    random = True
    moves = True

    def __init__(
        self,
        height: PositiveInt,
        width: PositiveInt,
        area: tuple[PositiveFloat, PositiveFloat] = (0.08, 1.0),
        ratio: tuple[PositiveFloat, PositiveFloat] = (0.75, 4 / 3),
        p: Probability = 1.0,
    ) -> None:
        for name, (low, high) in (("area", area), ("ratio", ratio)):
            if low > high or (name == "area" and high > 1):
                raise ConfigError(
                    Problem(name, f"wanted the smaller of two first, shares up to 1, found {low}, {high}")
                )
        self.size, self.area, self.ratio, self.p = (height, width), area, ratio, p

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        generator = Random(seed)
        if generator.random() < self.p:
            height, width = sample.image.shape[:2]
            for _ in range(_TRIES):
                share = generator.uniform(*self.area) * height * width
                ratio = math.exp(generator.uniform(*map(math.log, self.ratio)))
                tall, wide = round(math.sqrt(share / ratio)), round(math.sqrt(share * ratio))
                if 0 < tall <= height and 0 < wide <= width:
                    top, left = generator.randint(0, height - tall), generator.randint(0, width - wide)
                    sample = window_of(sample, top, left, tall, wide)
                    break
        return resized(sample, *self.size)


@TRANSFORMS.register("large_scale_jitter")
class LargeScaleJitter(Transform):
    """Scaled by a factor from a wide range, then cut or padded to (height, width): Ghiasi et al. 2021, "Simple copy-paste".

    The factor is of the largest scale at which the picture fits into the new size (section 3, 0.1 to 2.0); what is larger
    is cut at a random place, what is smaller is padded at the right and bottom, where nothing counts.

    Args:
        height: pixels from top to bottom after the transform.
        width: pixels from left to right after the transform.
        minimum: smallest factor that is drawn, above 0.
        maximum: largest factor, not below `minimum`.
    """

    random = True
    moves = True

    def __init__(
        self, height: PositiveInt, width: PositiveInt, minimum: PositiveFloat = 0.1, maximum: PositiveFloat = 2.0
    ) -> None:
        if minimum > maximum:
            raise ConfigError(Problem("minimum", f"is larger than maximum: {minimum} > {maximum}"))
        self.size, self.minimum, self.maximum = (height, width), minimum, maximum

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        generator = Random(seed)
        height, width = sample.image.shape[:2]
        factor = min(self.size[0] / height, self.size[1] / width) * generator.uniform(self.minimum, self.maximum)
        scaled = resized(sample, max(1, round(height * factor)), max(1, round(width * factor)))
        top = generator.randint(0, max(0, scaled.image.shape[0] - self.size[0]))
        left = generator.randint(0, max(0, scaled.image.shape[1] - self.size[1]))
        return window_of(scaled, top, left, *self.size)


@TRANSFORMS.register("rotate90")
class Rotate90(Transform):
    """Turned by a right angle or several, counted against the clock; no pixel is interpolated.

    Args:
        angles: degrees that are drawn from, all alike: 90, 180, 270.
        p: probability, 0..1, that a sample is turned.
    """

    random = True
    moves = True

    def __init__(self, angles: tuple[Literal[90, 180, 270], ...] = (90, 180, 270), p: Probability = 0.5) -> None:
        if not angles:
            raise ConfigError(Problem("angles", "is empty; wanted some of 90, 180, 270"))
        self.angles, self.p = tuple(angles), p

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        generator = Random(seed)
        if generator.random() >= self.p:
            return sample
        turns = generator.choice(self.angles) // 90

        def turned(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else np.ascontiguousarray(np.rot90(array, turns))

        return sample._replace(
            image=np.ascontiguousarray(np.rot90(sample.image, turns)),
            label_map=turned(sample.label_map),
            value_map=turned(sample.value_map),
            weight_map=turned(sample.weight_map),
            boxes=sample.boxes and _turned_boxes(sample.boxes, turns, sample.image.shape),
        )


def _turned_boxes(boxes: Boxes, turns: int, shape: tuple[int, ...]) -> Boxes:
    height, width = shape[:2]
    xyxy = boxes.xyxy
    for _ in range(turns):
        xyxy = np.stack([xyxy[:, 1], width - xyxy[:, 2], xyxy[:, 3], width - xyxy[:, 0]], axis=1)
        height, width = width, height
    return boxes._replace(xyxy=xyxy.astype(np.float32))
