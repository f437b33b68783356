"""Our own transforms: those where the field's habit is not one albumentations operation.

Label maps are never interpolated. Where there is no picture, the image is 0, the label map `IGNORE_INDEX`, the weight
map 0 and the value map NaN.
"""

from __future__ import annotations

import random

import cv2
import numpy as np
from torch import Tensor

from toolkit.bounds import PositiveFloat, PositiveInt, Probability
from toolkit.contracts import TRANSFORMS, Transform
from toolkit.data.transforms.box_geometry import mirrored_boxes, moved_boxes
from toolkit.errors import ConfigError, PartsError, Problem
from toolkit.ops.opencv_resize import resize_bytes
from toolkit.samples import IGNORE_INDEX, Sample


@TRANSFORMS.register("resize")
class Resize(Transform):
    """Scales the whole image to (height, width) pixels; the shape of things changes with the aspect ratio.

    Args:
        height: new height of the whole image in pixels.
        width: new width of the whole image in pixels.
    """

    def __init__(self, height: PositiveInt, width: PositiveInt) -> None:
        self.size = (height, width)

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        return resized(sample, *self.size)

    def exported(self, images: Tensor) -> Tensor:
        """See `Transform`."""
        return resize_bytes(images, self.size)


@TRANSFORMS.register("resize_shorter")
class ResizeShorter(Transform):
    """Scales the whole image, aspect ratio kept, so that its shorter side has `shorter` pixels.

    The longer side never exceeds `longer` (None: no limit), which may leave the shorter one smaller. Faster R-CNN (Ren et
    al. 2015, section 3.3) uses 600, with 1000 in its code; Detectron2's FPN models 800 and 1333.

    Args:
        shorter: pixels that the shorter side gets.
        longer: most pixels of the longer side, which may leave the shorter one smaller; None sets no limit.
        choices: when given, `shorter` is drawn from these instead, for training at several scales.
    """

    def __init__(
        self, shorter: PositiveInt, longer: PositiveInt | None = None, choices: list[int] | None = None
    ) -> None:
        self.choices = tuple(choices or (shorter,))
        self.longer = longer
        self.random = len(self.choices) > 1
        if min(self.choices) < 1:
            raise ConfigError(Problem("choices", f"sides must be at least 1 pixel, got {list(self.choices)}"))

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        shorter = random.Random(seed).choice(self.choices)
        return resized(sample, *self._size(shorter, sample.image.shape[0], sample.image.shape[1]))

    def exported(self, images: Tensor) -> Tensor:
        """See `Transform`. Raises PartsError for pictures of any size: to which size it leads must be known."""
        height, width = images.shape[2], images.shape[3]
        if not isinstance(height, int) or not isinstance(width, int):
            message = (
                "'resize_shorter' leads to another size for each, so a program with it is for pictures of one size"
            )
            raise PartsError(Problem("data.val.transforms", message, "--size HEIGHTxWIDTH"))
        return resize_bytes(images, self._size(self.choices[0], height, width))

    def _size(self, shorter: int, height: int, width: int) -> tuple[int, int]:
        factor = shorter / min(height, width)
        if self.longer is not None:
            factor = min(factor, self.longer / max(height, width))
        return max(1, round(height * factor)), max(1, round(width * factor))


@TRANSFORMS.register("random_scale")
class RandomScale(Transform):
    """Scales the whole image by a factor drawn evenly from minimum..maximum, aspect ratio kept.

    Args:
        minimum: smallest factor that is drawn, above 0; 0.5 halves each side.
        maximum: largest factor that is drawn, not below `minimum`; 2 doubles each side.
    """

    random = True

    def __init__(self, minimum: PositiveFloat = 0.5, maximum: PositiveFloat = 2.0) -> None:
        if minimum > maximum:
            raise ConfigError(Problem("minimum", f"is larger than maximum: {minimum} > {maximum}"))
        self.minimum = minimum
        self.maximum = maximum

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        factor = random.Random(seed).uniform(self.minimum, self.maximum)
        height, width = sample.image.shape[:2]
        return resized(sample, max(1, round(height * factor)), max(1, round(width * factor)))


@TRANSFORMS.register("random_crop")
class RandomCrop(Transform):
    """Cuts a window of exactly (height, width) at a random place; a smaller image is padded at the right and bottom.

    Args:
        height: height of the window in pixels.
        width: width of the window in pixels.
        max_share: draw again, up to ten times, while one class covers more than this share of the window's labelled
            pixels (0.75 is MMSegmentation's `cat_max_ratio`); 1.0 takes the first window.
    """

    random = True
    moves = True

    def __init__(self, height: PositiveInt, width: PositiveInt, max_share: Probability = 1.0) -> None:
        self.height = height
        self.width = width
        self.max_share = max_share

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        generator = random.Random(seed)
        full_height, full_width = sample.image.shape[:2]
        for _ in range(10):
            top = generator.randint(0, max(0, full_height - self.height))
            left = generator.randint(0, max(0, full_width - self.width))
            if self.max_share >= 1.0 or sample.label_map is None:
                break
            window = sample.label_map[top : top + self.height, left : left + self.width]
            if largest_share(window) <= self.max_share:
                break
        return window_of(sample, top, left, self.height, self.width)


@TRANSFORMS.register("flip")
class Flip(Transform):
    """Mirrors left and right with probability p, and top and bottom where that is asked for.

    Args:
        p: probability, 0..1, that left and right change places; 1 mirrors every sample.
        vertical: probability, 0..1, that top and bottom do, for pictures without an up: cells, the ground from above.
    """

    random = True
    moves = True

    def __init__(self, p: Probability = 0.5, vertical: Probability = 0.0) -> None:
        self.p = p
        self.vertical = vertical

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        draw = random.Random(seed).random
        sideways, upside = draw() < self.p, draw() < self.vertical
        if not (sideways or upside):
            return sample
        rows, columns = slice(None, None, -1 if upside else 1), slice(None, None, -1 if sideways else 1)
        (height, width), boxes = sample.image.shape[:2], sample.boxes
        if boxes is not None:
            boxes = mirrored_boxes(boxes, width) if sideways else boxes
            boxes = mirrored_boxes(boxes, height, "y") if upside else boxes

        def mirrored(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else np.ascontiguousarray(array[rows, columns])

        return sample._replace(
            image=np.ascontiguousarray(sample.image[rows, columns]),
            label_map=mirrored(sample.label_map),
            value_map=mirrored(sample.value_map),
            weight_map=mirrored(sample.weight_map),
            boxes=boxes,
        )


def resized(sample: Sample, height: int, width: int) -> Sample:
    """The sample scaled to (height, width): area averaging when the image shrinks, else linear; maps by nearest.

    Args:
        sample: the sample with all its annotations.
        height: new height of the image in pixels.
        width: new width of the image in pixels.

    >>> sample = Sample(np.zeros((4, 6, 3), np.uint8), "a", 0, (4, 6), label_map=np.eye(4, 6, dtype=np.uint8))
    >>> half = resized(sample, 2, 3)
    >>> half.image.shape, half.label_map.shape, half.original_size
    ((2, 3, 3), (2, 3), (4, 6))
    """
    old_height, old_width = sample.image.shape[:2]
    if (old_height, old_width) == (height, width):
        return sample
    shrinks = height * width < old_height * old_width
    image = cv2.resize(sample.image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

    def nearest(array: np.ndarray | None) -> np.ndarray | None:
        # INTER_NEAREST takes the pixel left of the centre at even factors; the exact kind keeps centres in place.
        return None if array is None else cv2.resize(array, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

    boxes = sample.boxes
    if boxes is not None:
        boxes = moved_boxes(boxes, height / old_height, width / old_width, 0, 0, (height, width))
    return sample._replace(
        image=image.reshape(height, width, sample.image.shape[2]),
        label_map=nearest(sample.label_map),
        value_map=nearest(sample.value_map),
        weight_map=nearest(sample.weight_map),
        boxes=boxes,
    )


def window_of(sample: Sample, top: int, left: int, height: int, width: int) -> Sample:
    """The window of (height, width) at (top, left), inside or padded where the image ends at the right and bottom.

    Args:
        sample: the sample with all its annotations.
        top: first row of the window, 0 or more.
        left: first column of the window, 0 or more.
        height: height of the window in pixels.
        width: width of the window in pixels.

    >>> labels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    >>> sample = Sample(np.zeros((2, 3, 3), np.uint8), "a", 0, (2, 3), label_map=labels)
    >>> window_of(sample, top=1, left=1, height=2, width=2).label_map.tolist()
    [[4, 5], [255, 255]]
    """

    def cut(array: np.ndarray | None, fill: float) -> np.ndarray | None:
        if array is None:
            return None
        part = array[top : top + height, left : left + width]
        if part.shape[:2] == (height, width):
            return np.ascontiguousarray(part)
        whole = np.full((height, width, *array.shape[2:]), fill, array.dtype)
        whole[: part.shape[0], : part.shape[1]] = part
        return whole

    image = cut(sample.image, 0)
    inside = (min(height, sample.image.shape[0] - top), min(width, sample.image.shape[1] - left))
    return sample._replace(
        image=image if image is not None else sample.image,
        label_map=cut(sample.label_map, IGNORE_INDEX),
        value_map=cut(sample.value_map, float("nan")),
        weight_map=cut(sample.weight_map, 0.0),
        boxes=sample.boxes and moved_boxes(sample.boxes, 1, 1, top, left, inside),
    )


def largest_share(window: np.ndarray) -> float:
    """Share, 0..1, of the labelled pixels of (H, W) uint8 labels that the most frequent class covers; 0 without any."""
    counts = np.bincount(window.ravel(), minlength=256)[:IGNORE_INDEX]
    return float(counts.max() / max(1, counts.sum()))
