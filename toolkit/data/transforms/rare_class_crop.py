"""A random window that, as often as asked, holds something of a rare class."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np

from toolkit.bounds import NonNegativeFloat, PositiveInt, Probability
from toolkit.contracts import TRANSFORMS, Transform
from toolkit.data.transforms.augment import window_of
from toolkit.errors import ConfigError, Problem, did_you_mean
from toolkit.samples import Sample

Stretch = tuple[float, float]
"""Where something begins and ends along one side of an image, in pixels."""


@TRANSFORMS.register("rare_class_crop")
class RareClassCrop(Transform):
    """Cuts a window of exactly (height, width); with probability p one that holds a pixel, or a box, of a rare class.

    For such a window one of the `classes` that the image holds is drawn, then one of its pixels (label maps) or boxes,
    all alike, then a place among those where the window holds it: the pixel, the whole box, or the box's centre when it
    is larger than the window. Otherwise, and in images without any of the classes, the window is any. A smaller image
    is padded at the right and bottom. A class of 0.1 % of the pixels is seen in nearly every window with p = 1, and
    about as often as chance has it with p = 0.

    Args:
        height: height of the window in pixels.
        width: width of the window in pixels.
        classes: names of the rare classes, or their labels 0..K-1.
        p: probability, 0..1, that the window has to hold one of them.
        weights: how often each is drawn beside the others that the image holds; all alike by default.
        class_names: names of the labels; the config fills them in from the data.
    """

    random = True
    moves = True

    def __init__(
        self,
        height: PositiveInt,
        width: PositiveInt,
        classes: list[int | str],
        p: Probability = 0.5,
        weights: list[NonNegativeFloat] | None = None,
        class_names: list[str] | None = None,
    ) -> None:
        self.height, self.width, self.p = height, width, p
        self.labels = labels_of(classes, class_names)
        self.weights = [1.0] * len(classes) if weights is None else list(weights)
        if len(self.weights) != len(self.labels) or not sum(self.weights) > 0:
            message = f"wanted a number for each of the {len(self.labels)} classes, one above 0, found {self.weights}"
            raise ConfigError(Problem("weights", message))

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        generator = Random(seed)
        held = self._held(sample, generator) if generator.random() < self.p else None
        height, width = sample.image.shape[:2]
        rows, columns = held if held is not None else (None, None)
        top = generator.randint(*_starts(self.height, height, rows))
        left = generator.randint(*_starts(self.width, width, columns))
        return window_of(sample, top, left, self.height, self.width)

    def _held(self, sample: Sample, generator: Random) -> tuple[Stretch, Stretch] | None:
        """(top, bottom) and (left, right) of what the window is to hold; None when the image has nothing rare."""
        if sample.label_map is not None:
            counts = np.bincount(sample.label_map.ravel(), minlength=256)
            label = self._drawn([int(counts[label]) for label in self.labels], generator)
            if label is None:
                return None
            number = generator.randrange(int(counts[label]))
            place = int(np.flatnonzero(sample.label_map.ravel() == label)[number])
            row, column = divmod(place, sample.label_map.shape[1])
            return (row, row + 1.0), (column, column + 1.0)
        if sample.boxes is None:
            return None
        own = np.where(sample.boxes.crowd, -1, sample.boxes.labels)
        label = self._drawn([int((own == label).sum()) for label in self.labels], generator)
        if label is None:
            return None
        boxes = sample.boxes.xyxy[own == label]
        left, top, right, bottom = boxes[generator.randrange(len(boxes))].tolist()
        return (top, bottom), (left, right)

    def _drawn(self, counts: Sequence[int], generator: Random) -> int | None:
        """One of the labels that the image holds, by weight."""
        weights = [weight if count else 0.0 for weight, count in zip(self.weights, counts, strict=True)]
        return generator.choices(self.labels, weights)[0] if sum(weights) > 0 else None


def _starts(window: int, length: int, held: Stretch | None) -> tuple[int, int]:
    """First and last start of a window inside the image that holds a stretch, or its middle when it is too long."""
    largest = max(0, length - window)
    if held is None:
        return 0, largest
    first, last = int(np.floor(held[0])), int(np.ceil(held[1]))
    if last - first > window:
        first = int((held[0] + held[1]) / 2)
        last = first + 1
    return min(max(0, last - window), largest), min(first, largest)


def labels_of(classes: Sequence[int | str], names: Sequence[str] | None) -> list[int]:
    """Labels of names and labels. Raises ConfigError, all problems at once."""
    problems, labels = [], []
    for one in classes:
        if isinstance(one, str) and one in (names or ()):
            labels.append(list(names or ()).index(one))
        elif isinstance(one, str):
            message = (
                f"no class is called '{one}'" if names else f"'{one}' is a name, but the classes are not known here"
            )
            problems.append(Problem("classes", message, did_you_mean(one, names or ())))
        elif not 0 <= one < (len(names) if names else 255):
            problems.append(Problem("classes", f"label {one} is not of a class; there are {len(names or [])}"))
        else:
            labels.append(one)
    if not classes:
        problems.append(Problem("classes", "names no class", "list the rare classes"))
    if problems:
        raise ConfigError(problems)
    return labels
