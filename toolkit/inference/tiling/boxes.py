"""Detectors over pictures that are too large, or whose objects are too small, to go through the net at once."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from toolkit.analysis.forecast import MemoryForecast, forecast_prediction
from toolkit.bounds import PositiveInt
from toolkit.contracts import HEADS, Head
from toolkit.errors import ConfigError, PartsError, Problem
from toolkit.inference.tiling.seams import Found, Overlap, Span, seen_by_neighbours, spans, without_doubles
from toolkit.inference.tiling.tiled import MEMORY, TileSide
from toolkit.models.vision_model import VisionModel
from toolkit.ops import boxes as box_ops
from toolkit.progress import told, told_within
from toolkit.samples import Batch, Detections, Prediction, each_image

_LOG = logging.getLogger(__name__)
_UNKNOWN_SHARE = 4
"""Tiles overlap by this part of their side where the weights do not say how large objects are."""
_NO_LIMIT = 1 << 30


class BoxPlan(NamedTuple):
    """How pictures of one size are looked at.

    Args:
        rows: tiles from top to bottom.
        columns: tiles from left to right.
        overlaps: what neighbours share at least, of rows and of columns.
        reduced: (height, width) in pixels at which the whole picture is shown for large objects, in tiles; None: it is not.
    """

    rows: list[Span]
    columns: list[Span]
    overlaps: tuple[Overlap, Overlap]
    reduced: tuple[int, int] | None


class TiledBoxes:
    """Detections of a picture that is shown to a detector in tiles, made one answer; one picture and one tile at a time.

    Neighbouring tiles overlap by the objects' size, so that each lies whole in one of them, whose box counts: a box that
    a seam cuts is left out where the neighbour sees it whole. What several tiles see is merged as within one picture
    (`Head.merged`), and the limit of detections is the picture's. Objects that are larger than the overlap holds are
    looked for in the whole picture, shrunk until tiles hold the largest of the training; boxes of it count from that size on.

    Raises PartsError for a model that is no detector; calls raise ConfigError for a tile or overlap that does not suit
    it, and what `VisionModel.predict` raises.

    Args:
        model: the detector, on its device, in eval mode.
        tile: side of a tile in pixels as they enter the net, rounded down to a multiple of the net's coarsest stride.
            `auto`: the whole picture when it is estimated to need at most `memory` bytes, else the largest tile that does.
        overlap: pixels that neighbours share at least. None: what holds 999 of 1,000 objects of the training, at most
            half a tile (`VisionModel.object_sizes`); a quarter of a tile where the weights do not know their sizes.
        memory: bytes that a picture may need to be shown whole, for `auto`.
    """

    def __init__(
        self,
        model: VisionModel,
        tile: TileSide = "auto",
        overlap: PositiveInt | None = None,
        memory: PositiveInt = MEMORY,
    ) -> None:
        if model.head.max_detections is None:
            found = HEADS.name_of(type(model.head))
            raise PartsError(Problem("tile", f"wanted a detector; this model has the head '{found}'"))
        self.model, self.tile, self.overlap, self.memory = model, tile, overlap, memory
        self.align = math.lcm(*model.backbone.spec.strides, *model.spec.strides, model.spec.sizes.multiple)
        self._plans: dict[tuple[int, int], BoxPlan | None] = {}

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> list[Prediction]:
        """One prediction an image, in original pixels, on the CPU."""
        return [self._one(single) for single in each_image(batch)]

    def plan(self, size: tuple[int, int]) -> BoxPlan | None:
        """How a picture of (height, width) pixels is looked at; None: whole."""
        if self.tile == "auto" and self.model.fixed_size is not None:  # it cannot be asked what a smaller one takes
            return None
        if size not in self._plans:
            if not self._plans:
                self._tell()
            self._plans[size] = self._planned(size)
        return self._plans[size]

    def _planned(self, size: tuple[int, int]) -> BoxPlan | None:
        side = self._largest
        if max(size) <= (self.tile if self.tile != "auto" else side):
            return None
        if self.tile == "auto" and self._forecast.bytes(size) <= self.memory:
            return None
        overlaps = self.overlaps
        rows, columns = (spans(n, side, one.pixels, self.align) for n, one in zip(size, overlaps, strict=True))
        return BoxPlan(rows, columns, overlaps, self._reduced(size))

    @cached_property
    def _forecast(self) -> MemoryForecast:
        return forecast_prediction(self.model)

    @cached_property
    def _largest(self) -> int:
        """Pixels a side of a tile."""
        if self.tile == "auto":
            bytes_left = max(self.memory - self._forecast.fixed, 1)
            wanted = max(2 * self.align, math.isqrt(int(bytes_left / max(self._forecast.per_pixel, 1e-9))))
        else:
            wanted = self.tile
        side = wanted // self.align * self.align
        if side < 2 * self.align:
            message = f"tiles of {wanted} pixels are too small for this model: it needs {2 * self.align} at least"
            raise ConfigError(Problem("tile", message, f"set tile to {2 * self.align} or more, or to auto"))
        return side

    @cached_property
    def overlaps(self) -> tuple[Overlap, Overlap]:
        """What neighbouring tiles share at least, of rows and of columns."""
        side, sizes = self._largest, self.model.object_sizes
        if self.overlap is not None:
            if self.overlap > side - self.align:
                message = f"tiles of {side} pixels cannot share {self.overlap}: they would not get on"
                raise ConfigError(Problem("overlap", message, f"take {side - self.align} or less, or larger tiles"))
            return Overlap(self.overlap), Overlap(self.overlap)
        if sizes is None:
            return Overlap(side // _UNKNOWN_SHARE), Overlap(side // _UNKNOWN_SHARE)
        height, width = (Overlap(min(Overlap.for_objects(longest).pixels, side // 2)) for longest in sizes.usual)
        return height, width

    @property
    def _too_large(self) -> float:
        """How often the largest object of the training is as long as what a tile holds; without end where nobody knows."""
        sizes = self.model.object_sizes
        if sizes is None:
            return math.inf
        return max(own / overlap.holds for own, overlap in zip(sizes.largest, self.overlaps, strict=True))

    def _reduced(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """(height, width) at which tiles hold the largest objects of the training, or one tile holds a picture of this size.

        No smaller: a net knows objects of the sizes that it was trained on, and takes smaller ones for others.
        """
        if self._too_large <= 1:
            return None
        by = min(self._too_large, max(size) / self._largest)
        return max(1, round(size[0] / by)), max(1, round(size[1] / by))

    def _tell(self) -> None:
        """Says, once, how tiles overlap, by what rule, and what becomes of larger objects."""
        sizes, side = self.model.object_sizes, self._largest
        (height, width) = (one.pixels for one in self.overlaps)
        rows, columns = (round(one.holds) for one in self.overlaps)
        if self.overlap is not None:
            rule = "as asked for"
        elif sizes is None:
            rule = "a quarter of them: these weights do not say how large objects are; --overlap says it"
        else:
            rule = (
                f"by the {sizes.objects} objects of the training, of up to {sizes.largest[0]:g} x {sizes.largest[1]:g}"
            )
        larger = "no object of the training is larger"
        if self._too_large > 1:
            larger = "larger ones are looked for in the whole picture at reduced size"
        shared = f"tiles of {side} pixels share {height} (rows) and {width} (columns), {rule}"
        told(f"{shared}; objects up to {rows} x {columns} (height x width) lie whole in one; {larger}", _LOG)

    def _one(self, single: Batch) -> Prediction:
        height, width = single.sizes[0].tolist()
        plan = self.plan((height, width))
        if plan is None:
            return self.model.predict(single)[0]
        with unlimited(self.model.head):
            whole, pieces = self._of_tiles(single, plan)
            large = self._of_reduced(single, plan)
        boxes, scores, labels = map(torch.from_numpy, without_doubles(whole, pieces, large))
        original = single.original_sizes[0].tolist()
        boxes = box_ops.clip(box_ops.scale(boxes, original[0] / height, original[1] / width), original)
        table = self.model.class_table
        merged: Detections = self.model.head.merged([Detections(boxes, scores, labels)])
        return merged.of_classes(table)

    def _of_tiles(self, single: Batch, plan: BoxPlan) -> tuple[Found, Found]:
        """What tiles see whole, and pieces of what none does, in pixels of the picture as it enters the net."""
        whole, pieces = [], []
        tiles = list(itertools.product(plan.rows, plan.columns))
        for number, (row, column) in enumerate(tiles, 1):
            shown = single.images[..., row.start : row.stop, column.start : column.stop]
            found = self._seen(single, shown)
            moved = found.boxes + np.array([column.start, row.start] * 2, np.float32)
            kind = seen_by_neighbours(moved, (row, column), plan.overlaps)
            found = found._replace(boxes=moved)
            whole.append(found.take(kind == 0))
            pieces.append(found.take(kind == 1))
            told_within(number, len(tiles), "tile")
        return Found.of(whole), Found.of(pieces)

    def _of_reduced(self, single: Batch, plan: BoxPlan) -> Found:
        """What is larger than tiles hold, in the picture at reduced size."""
        if plan.reduced is None:
            return Found.of([])
        sides = zip(plan.reduced, plan.overlaps, strict=True)
        lines = [spans(n, self._largest, one.pixels, self.align) for n, one in sides]
        shrunk = single._replace(images=_shrunk(single.images, plan.reduced))
        found, _ = self._of_tiles(shrunk, plan._replace(rows=lines[0], columns=lines[1]))
        (height, width), (h, w) = single.sizes[0].tolist(), plan.reduced
        boxes = found.boxes * np.array([width / w, height / h] * 2, np.float32)
        across, down = (boxes[:, 2:] - boxes[:, :2]).T
        rows, columns = plan.overlaps
        return found._replace(boxes=boxes).take((across > columns.holds) | (down > rows.holds))

    def _seen(self, single: Batch, images: Tensor) -> Found:
        """The model's answer for a part of a picture (1, C, h, w), or for the picture at another size, in its pixels."""
        size = torch.tensor([images.shape[-2:]])
        # What the file's pixels are to the net's, some heads want to know (py-faster-rcnn's shortest proposal).
        original = (size * (single.original_sizes / single.sizes)).round().long().clamp_min(1)
        (found,) = self.model.predict(Batch(images, size, original, single.names))
        if not isinstance(found, Detections):
            raise TypeError(f"a detector gives Detections, not {type(found).__name__}")
        back = (size / original)[0].tolist()
        boxes, scores, labels = found
        return Found(box_ops.scale(boxes, *back).float().numpy(), scores.numpy(), labels.numpy())


def _shrunk(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(1, C, H, W) images at a smaller size, each pixel a mean of those it stands for; bytes stay bytes."""
    if images.device.type == "cpu" or images.is_floating_point():  # PyTorch shrinks bytes on a CPU only
        return F.interpolate(images.contiguous(), size=size, mode="bilinear", antialias=True)
    small = F.interpolate(images.float(), size=size, mode="bilinear", antialias=True)
    return small.round_().clamp_(0, 255).to(images.dtype)


@contextmanager
def unlimited(head: Head) -> Iterator[None]:
    """Within it a head gives all its detections: what limits them is done with the answer as a whole."""
    limit = head.max_detections
    head.limit_detections(count=_NO_LIMIT)
    try:
        yield
    finally:
        head.limit_detections(count=limit)
