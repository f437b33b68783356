"""A whole training set on the device, and `warp` done there: no worker, no decoding and no copy after the first step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from toolkit.contracts import Dataset, Transform
from toolkit.data.loading.batches import StepBatches
from toolkit.data.loading.picture_reader import NothingKept, read_sample
from toolkit.data.seeds import mix, sample_seed
from toolkit.data.transforms.warp import Warp, boxes_as_planned, halved
from toolkit.data.transforms.warp_plan import LUMA, ColorChange, Plan, color_matrix
from toolkit.errors import ConfigError, Problem
from toolkit.samples import IGNORE_INDEX, Batch, Sample, collate


class Held(NamedTuple):
    """A sample on the device.

    Args:
        levels: (C, H, W) uint8 on the device, the picture whole, halved once, twice ... as far as it may be wanted.
        labels: (H, W) uint8 on the device, or None.
        rest: the sample on the host, with an image of one pixel and no map.
    """

    levels: tuple[Tensor, ...]
    labels: Tensor | None
    rest: Sample


def warp_alone(transforms: Sequence[Transform]) -> Warp:
    """The transform that can be done on a device. Raises ConfigError for any other row of transforms."""
    if len(transforms) == 1 and isinstance(transforms[0], Warp):
        return transforms[0]
    message = "on the device nothing but one transform `warp` can be done, and the training set has others, or none"
    raise ConfigError(Problem("data.cache", message, "set data.cache: memory, or make `warp` its only transform"))


class DeviceSet:
    """The samples of a data set on a device. Its batches are those of `train_loader` within a gray level, before colours.

    Drawn numbers, boxes and the halving of pictures are the host's; label maps agree but where a centre falls on the
    border of two pixels. Everything is a function of (seed, step), so that a resumed run is the uninterrupted one.

    Args:
        dataset: the data set, of label maps, boxes or image labels.
        warp: its only transform, done on the device.
        device: where pixels are kept and changed.
        seed: the run's seed, for augmentation.

    Raises:
        UserError: for a sample that cannot be read, or that has maps of numbers.
    """

    def __init__(self, dataset: Dataset, warp: Warp, device: torch.device, seed: int) -> None:
        self.warp, self.device, self.seed = warp, device, seed
        self.held = [held(dataset, index, warp, device) for index in range(len(dataset))]

    def batches(self, sampler: StepBatches) -> Iterator[Batch]:
        """The batches that a sampler asks for, on the device; sizes and boxes on the host."""
        for keys in sampler:
            yield self.batch([(index, sample_seed(self.seed, turn, index)) for turn, index in keys])

    def batch(self, wanted: Sequence[tuple[int, int]]) -> Batch:
        """The batch of (index, seed) pairs."""
        made = [self._made(self.held[index], mix(seed, 0)) for index, seed in wanted]
        images, labels, rests = zip(*made, strict=True)
        batch = collate(rests)
        size = torch.tensor([self.warp.size] * len(made))
        maps = None if labels[0] is None else torch.stack(labels)
        return batch._replace(images=torch.stack(images), sizes=size, label_maps=maps)

    def _made(self, one: Held, seed: int) -> tuple[Tensor, Tensor | None, Sample]:
        plan = self.warp.plan(one.rest.original_size, seed)
        boxes = one.rest.boxes
        rest = one.rest._replace(boxes=None if boxes is None else boxes_as_planned(boxes, plan))
        labels = None if one.labels is None else warped_labels(one.labels, plan)
        return warped_image(one.levels[plan.halvings], plan), labels, rest


def device_bytes(dataset: Dataset, warp: Warp) -> int:
    """About how much a data set will take on a device, judged by its first sample. warp: may want halved pictures."""
    first = dataset[0]
    shares = sum(0.25**times for times in range(1 + warp.most_halvings(first.original_size)))
    labels = 0 if first.label_map is None else first.label_map.nbytes
    return round(len(dataset) * (first.image.nbytes * shares + labels))


def held(dataset: Dataset, index: int, warp: Warp, device: torch.device) -> Held:
    """A sample put on a device.

    Args:
        dataset: the data set that it is of.
        index: its place in the data set.
        warp: says how often pictures may be halved.
        device: where the pixels of pictures and label maps go.
    """
    whole = dataset[index]
    if whole.value_map is not None or whole.weight_map is not None:
        message = "maps of numbers are not moved on the device"
        raise ConfigError(Problem("data.cache", message, "set data.cache: memory"))
    levels = [whole.image]
    for times in range(1, 1 + warp.most_halvings(whole.original_size)):
        sample = read_sample(dataset, index, NothingKept(), partial(_always, times))
        levels.append(sample.image if sample.halvings else halved(whole.image, times))
    rest = whole._replace(image=np.zeros((1, 1, whole.image.shape[2]), np.uint8), label_map=None)
    labels = None if whole.label_map is None else torch.from_numpy(whole.label_map).to(device)
    sides = [[side >> times for side in whole.original_size] for times in range(len(levels))]
    cut = [level[:height, :width] for level, (height, width) in zip(levels, sides, strict=True)]
    return Held(tuple(_channels_first(level, device) for level in cut), labels, rest)


def _always(times: int, size: tuple[int, int]) -> int:
    return times


def _channels_first(image: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(device)


def warped_image(level: Tensor, plan: Plan) -> Tensor:
    """(C, height, width) uint8 of a picture halved as planned, (C, H, W) uint8; see `toolkit.data.transforms.warp.warped`."""
    rows, columns, rest = plan.rows, plan.columns, plan._replace(halvings=0)
    shown = level[:, rows.part(), columns.part()]
    if plan.degrees:
        y, x = _places(rest, level.device, plan.size)
        made = _recolored(_linear(level, y, x).round_(), plan.color, shown)
        return _bytes(made) * _within(y, x, level.shape[-2:])
    y, x = _places(rest, level.device, (rows.made, columns.made))
    made = _recolored(_linear(shown, y - rows.start, x - columns.start).round_(), plan.color, shown)
    return pad(_bytes(made), (0, plan.size[1] - columns.made, 0, plan.size[0] - rows.made))


def warped_labels(labels: Tensor, plan: Plan) -> Tensor:
    """(height, width) uint8 of a label map (H, W) uint8 of the whole picture; `IGNORE_INDEX` where there is no picture."""
    size = plan.size if plan.degrees else (plan.rows.made, plan.columns.made)
    y, x = _places(plan, labels.device, size)
    rows, columns = (y + 0.5).floor().long(), (x + 0.5).floor().long()
    made = labels[rows.clamp(0, labels.shape[0] - 1), columns.clamp(0, labels.shape[1] - 1)]
    if plan.degrees:
        cut = torch.Size(side >> plan.halvings << plan.halvings for side in labels.shape)
        return made.masked_fill(~_within(y, x, cut), IGNORE_INDEX)
    return pad(made, (0, plan.size[1] - size[1], 0, plan.size[0] - size[0]), value=IGNORE_INDEX)


def _places(plan: Plan, device: torch.device, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Rows and columns, among centres of pixels, that the pixels of the result come from; broadcast to (height, width)."""
    (xx, xy, x0), (yx, yy, y0) = plan.from_result().tolist()
    i = torch.arange(size[0], device=device, dtype=torch.float32)[:, None]
    j = torch.arange(size[1], device=device, dtype=torch.float32)[None]
    if not plan.degrees:
        return yy * i + y0, xx * j + x0
    return yx * j + (yy * i + y0), xx * j + (xy * i + x0)


def _within(y: Tensor, x: Tensor, size: torch.Size) -> Tensor:
    """Bool: the nearest pixel is one of a picture of (height, width)."""
    return (y >= -0.5) & (y < size[0] - 0.5) & (x >= -0.5) & (x < size[1] - 0.5)


def _linear(pixels: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """(C, h, w) float32 of (C, H, W) uint8 at rows and columns, those beyond an edge being the edge's."""
    y, x = y.clamp(0, pixels.shape[1] - 1), x.clamp(0, pixels.shape[2] - 1)
    top, left = y.floor().long(), x.floor().long()
    bottom, right = (top + 1).clamp(max=pixels.shape[1] - 1), (left + 1).clamp(max=pixels.shape[2] - 1)
    across = x - left
    upper = torch.lerp(pixels[:, top, left].float(), pixels[:, top, right].float(), across)
    lower = torch.lerp(pixels[:, bottom, left].float(), pixels[:, bottom, right].float(), across)
    return torch.lerp(upper, lower, y - top)


def _recolored(values: Tensor, change: ColorChange, shown: Tensor) -> Tensor:
    """(C, h, w) float32 with changed colours, not cut to 0..255; the mean gray value is that of `shown`, (C, H, W) uint8."""
    colored = len(values) == 3
    if not colored:
        change = change._replace(saturation=1.0, hue=0.0)
    if change == ColorChange():
        return values
    factors = torch.from_numpy(color_matrix(change, (0, 0, 0))[:, :3]).to(values)
    made = (factors @ values.flatten(1)).view_as(values) if colored else values * (change.brightness * change.contrast)
    if change.contrast == 1:
        return made
    means = shown.mean((1, 2), dtype=torch.float32)  # never read by the host, which would wait for it
    gray = means @ torch.from_numpy(LUMA).to(means) if colored else means.mean()
    return made + change.brightness * (1 - change.contrast) * gray


def _bytes(values: Tensor) -> Tensor:
    return values.round_().clamp_(0, 255).to(torch.uint8)
