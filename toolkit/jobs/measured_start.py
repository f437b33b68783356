"""What a first config takes from measuring data and machine: bands, shares, anchors, image size, and steps by a step made."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from toolkit.config.load import parse_config
from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.data.classes.frequencies import count_classes, median_frequency_weights, softened_weights
from toolkit.data.formats.boxed import BoxDataset
from toolkit.data.loading.loader import train_loader
from toolkit.engine.prepare import trial_step
from toolkit.engine.process import make_fabric
from toolkit.errors import DataError, Problem, UserError
from toolkit.jobs.build import build_model, build_optimizer_rule
from toolkit.jobs.build_data import build_transforms
from toolkit.jobs.check_parts import meta_model
from toolkit.jobs.first_config import config_text, flow
from toolkit.jobs.starting_point import (
    FINE,
    StartingPoint,
    areas,
    image_size,
    is_worth_shrinking,
    steps_for,
)
from toolkit.labels import ClassTable
from toolkit.preflight.data.files import image_path
from toolkit.preflight.model.anchors import fitted
from toolkit.preflight.model.geometry_trace import boxes_seen
from toolkit.progress import waiting

_COUNTED = 100
"""Label maps whose pixels are counted for shares and weights."""
_MEASURED = 5
"""Steps that are made to know how long one takes; the first, which is slower, does not count."""
_SLOW_STEP = 20.0
"""Seconds after which no further step is made for that."""


def with_size_and_steps(
    start: StartingPoint,
    train: Dataset,
    sizes: Sequence[tuple[int, int]],
    numbers: Mapping[str, int],
    minutes: float,
    where: str,
) -> StartingPoint:
    """With the largest image size that leaves enough passes over the images in the time, and what follows from it.

    Args:
        start: what is known so far.
        train: the data set that the training reads.
        sizes: (height, width) of its pictures.
        numbers: how many images each split has.
        minutes: time that the training may take.
        where: name of the config in messages.
    """
    wanted = areas(start.task, on_gpu=start.on_gpu)
    for area, smaller in zip(wanted, (*wanted[1:], 0), strict=True):
        size, keeps = image_size(sizes, start.task, area)
        same = len(set(sizes)) == 1 and sizes[0] == size
        start = dataclasses.replace(start, size=None if same else size, keeps_shape=keeps)
        side = float("inf")
        if start.task == "detection":
            start, side = _with_anchors(start, train, where)
        start = _with_steps(start, parse_config(config_text(start), where), train, numbers, minutes)
        shrunk = side * (smaller / area) ** 0.5
        if not smaller or not is_worth_shrinking(start.steps, start.batch, numbers["train"], shrunk):
            break
    return start


def channels_of(train: Dataset, draft: StartingPoint) -> int:
    """1 where all of some pictures are gray and the data set can read them so."""
    if any(arguments["name"] == "image_stacks" for arguments in draft.splits.values()):
        return train.channels
    readers = ("image_masks", "image_folder")
    if any(arguments["name"] not in readers for arguments in draft.splits.values()):
        return 3
    modes = set()
    for index in _some(len(train), 24):
        path = image_path(train, index)
        try:
            with Image.open(path or "") as image:
                modes.add(image.mode)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            modes.add("")
    return 1 if modes and modes <= {"L", "1", "LA"} else 3


def _some(count: int, most: int) -> list[int]:
    return sorted({int(place) for place in np.linspace(0, count - 1, min(count, most)).round()}) if count else []


def with_numbers_of_classes(start: StartingPoint, train: Dataset) -> StartingPoint:
    """With shares of pixels and class weights, or numbers of boxes."""
    if isinstance(train, BoxDataset):
        counts = train.index.class_counts(len(start.classes))
        return dataclasses.replace(start, shares=tuple(f"{int(count)} boxes" for count in counts))
    if start.task != "segmentation":
        return start
    places = _some(len(train), _COUNTED)
    counted = count_classes(_label_maps(train, places, skips=start.on_bad == "skip"), len(start.classes))
    if not counted.pixels.any():
        raise DataError(
            Problem(Path(start.root), "no pixel of the masks counts", "toolkit check --full says what they hold")
        )
    shares = tuple(f"{share:.2%}" for share in counted.pixels / counted.pixels.sum())
    weights = [float(f"{weight:.4g}") for weight in median_frequency_weights(counted)]
    return dataclasses.replace(start, shares=shares, weights=(tuple(weights), tuple(softened_weights(weights))))


def _label_maps(train: Dataset, places: Sequence[int], *, skips: bool) -> Iterator[np.ndarray]:
    for index in places:
        try:
            label_map = train[index].label_map
        except UserError:
            if not skips:
                raise
            continue
        if label_map is not None:
            yield label_map


def _with_anchors(start: StartingPoint, train: Dataset, where: str) -> tuple[StartingPoint, float]:
    """With maps and anchors that fit the boxes, and the side in pixels that nine of ten boxes reach."""
    config = parse_config(config_text(start), where)
    boxes = boxes_seen(train, build_transforms(config, "train"), config.seed)
    if not len(boxes.labels):
        return start, 0.0
    sides = np.sqrt((boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]).prod(1))
    side = float(np.quantile(sides, 0.1))
    start = dataclasses.replace(start, fine=side < FINE, anchors="")
    model = meta_model(parse_config(config_text(start), where), ClassTable(start.classes, start.palette))
    layout = model.head.anchor_layout() if model is not None else None
    better = fitted(boxes, layout) if layout is not None else None
    if better is None:
        return start, side
    shapes = {"scales": list(better.scales), "ratios": list(better.ratios)}
    return dataclasses.replace(start, anchors=flow(shapes)), side


def _with_steps(
    start: StartingPoint, config: Config, train: Dataset, numbers: Mapping[str, int], minutes: float
) -> StartingPoint:
    """With the steps that fit into the time, by a step that was made."""
    seconds, device = _step_seconds(config, train, start)
    evaluation = seconds / start.batch * 0.5 * numbers.get("val", 0)
    steps, every = steps_for(minutes, seconds, evaluation, numbers["train"], start.batch)
    passes = steps * start.batch / max(1, numbers["train"])
    time_said = (
        f"{passes:.0f} passes; a step of {start.batch} images took {seconds:.2g} s on this {device} (measured), "
    )
    return dataclasses.replace(
        start,
        steps=steps,
        evaluate_every=every,
        time=f"{time_said}so about {_minutes(steps, seconds, evaluation, every)} min",
    )


def _minutes(steps: int, seconds: float, evaluation: float, every: int) -> str:
    return f"{(steps * seconds + -(-steps // every) * evaluation) / 60:.3g}"


def _step_seconds(config: Config, train: Dataset, start: StartingPoint) -> tuple[float, str]:
    """Seconds of a training step with real images, the middle of some that are made; and on what."""
    fabric, taken = make_fabric(config.train), list[float]()
    with torch.random.fork_rng(), waiting("the time of a training step is measured ..."):
        torch.manual_seed(config.seed)
        model = build_model(config, pretrained=False, classes=ClassTable(start.classes, start.palette)).to(
            fabric.device
        )
        step = trial_step(fabric, model, build_optimizer_rule(config), config.train)
        began = time.perf_counter()
        loader = train_loader(train, build_transforms(config, "train"), start.batch, config.seed, 0, _MEASURED)
        for number, batch in enumerate(loader):
            _ = step.run(number, [batch]).terms  # waits for the device
            taken.append(time.perf_counter() - began)
            if sum(taken) > _SLOW_STEP:
                break
            began = time.perf_counter()
    return float(np.median(taken[1:] or taken)), fabric.device.type.upper()
