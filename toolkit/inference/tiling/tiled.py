"""Answers for every pixel of pictures that are too large to go through the net at once: the same result, tile by tile."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from toolkit.bounds import PositiveInt
from toolkit.contracts import HEADS, DenseHead
from toolkit.errors import PartsError, Problem
from toolkit.inference.tiling.geometry import bytes_per_pixel, cells_of, measure_geometry, unprobed_geometry
from toolkit.inference.tiling.plan import Tile, TileGeometry, plan_tiles
from toolkit.models.vision_model import VisionModel
from toolkit.ops.padding import Pad, mirror
from toolkit.progress import told_within
from toolkit.samples import Batch, Prediction

TileSide = PositiveInt | Literal["auto"]
Mirrorings = Literal[1, 2, 4]
MEMORY = 2 << 30
"""Bytes a picture may take in the net before `auto` tiles it."""
_FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


def single_images(batch: Batch) -> Iterator[Batch]:
    """Each image of a batch, without the padding it got there, as a batch."""
    for index in range(batch.count):
        height, width = batch.sizes[index].tolist()
        one = slice(index, index + 1)
        images = batch.images[one, :, :height, :width]
        yield Batch(images, batch.sizes[one], batch.original_sizes[one], batch.names[one])


class TiledPrediction:
    """Predicts as `VisionModel.predict` does, but never shows the net more than a tile; one picture at a time.

    Tiles overlap by what their edges cannot know, start at multiples of the net's total stride, and give each logit
    once, cut in the middle of an overlap. So the logits are those of the whole picture but for rounding, for every net
    of local layers, padded or not (`TileGeometry.exact`). One row of tiles is kept at a time; logits are upsampled and
    compared from there by the head. Memory beyond the picture and its labels grows with tile side times width.

    Raises PartsError for a model whose head is not dense; calls raise ConfigError for a tile that is too small, and what
    `VisionModel.predict` raises.

    Args:
        model: the model, with a dense head.
        tile: side of a tile in pixels as they enter the net, borders and surroundings included, rounded down to a side
            that fits. `auto`: the whole picture when it is estimated to need at most `memory` bytes, else the largest
            tile that does.
        mirrorings: 2 averages the logits over the picture and its mirror image left-right, 4 also over those up-down
            and both, as the U-Net's authors do (2015 release); the picture is then padded at the bottom and right, by
            mirroring, to a multiple of the net's total stride. The model should be in eval mode.
        memory: bytes that a picture may need to be shown whole, for `auto`.
    """

    def __init__(
        self, model: VisionModel, tile: TileSide = "auto", mirrorings: Mirrorings = 1, memory: PositiveInt = MEMORY
    ) -> None:
        if not isinstance(model.head, DenseHead):
            found = HEADS.name_of(type(model.head))
            message = f"only models that answer with pixels or boxes can be tiled; this one has the head '{found}'"
            raise PartsError(Problem("tile", message, "leave `tile` out and shrink the pictures"))
        self.model = model
        self.head = model.head
        self.tile = tile
        self.mirrorings = mirrorings
        self.memory = memory
        self._start = unprobed_geometry(model, self.head.stride)
        self._geometry: TileGeometry | None = None
        self._bytes: float | None = None
        self._cells: dict[tuple[int, int], tuple[int, int]] = {}

    @property
    def geometry(self) -> TileGeometry:
        """What the model asks of tiles; measured the first time it is needed."""
        if self._geometry is None:
            self._geometry = measure_geometry(self.model, self.head.stride)
        return self._geometry

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> list[Prediction]:
        """One prediction an image, in original pixels, on the CPU."""
        return [self._predict(single) for single in single_images(batch)]

    def _predict(self, single: Batch) -> Prediction:
        (height, width), (big_height, big_width) = single.sizes[0].tolist(), single.original_sizes[0].tolist()
        strips, cells = self.strips(single)
        return self.head.predict_strips(strips, cells, (height, width), (big_height, big_width))

    def strips(self, single: Batch) -> tuple[Iterable[Tensor], tuple[int, int]]:
        """The logits of a batch of one, as rows of tiles (K, r, w) float32 from top to bottom, and their size (h, w).

        They are made when they are asked for. Use it in inference mode.
        """
        images = self._prepared(single)
        height, width = images.shape[-2:]
        side = self._side(height, width)
        if side is None:
            logits = self._tile(images)
            return [logits], (logits.shape[1], logits.shape[2])
        if (height, width) not in self._cells:
            self._cells[height, width] = cells_of(self.model, (height, width), self._start)
        cells = self._cells[height, width]
        rows, columns = (plan_tiles(n, c, side, self.geometry) for n, c in zip((height, width), cells, strict=True))
        return self._rows_of_tiles(images, rows, columns), cells

    def _prepared(self, single: Batch) -> Tensor:
        """The picture as the net gets to see it, as a whole."""
        images = self.model.prepared(single)
        if self.mirrorings == 1:
            return images
        # Mirrored tiles lie as the tiles of the mirrored picture do only if the picture is as a tile is.
        bottom, right = (self._start.legal(n) - n for n in images.shape[-2:])
        return mirror(images, Pad(0, bottom, 0, right))

    def _side(self, height: int, width: int) -> int | None:
        """Pixels a side of a tile; None when the picture needs no tiles."""
        if self.tile != "auto":
            return None if max(height, width) <= self.tile else self.geometry.largest(self.tile)
        if self._bytes is None:
            self._bytes = bytes_per_pixel(self.model, self._start)
        pixels = self.memory / self._bytes
        if height * width <= pixels:
            return None
        return self.geometry.largest(max(self.geometry.smallest, math.isqrt(int(pixels))))

    def _rows_of_tiles(self, images: Tensor, rows: Sequence[Tile], columns: Sequence[Tile]) -> Iterator[Tensor]:
        """Logits (K, r, w) of one row of tiles after the other."""
        for number, row in enumerate(rows):
            height = row.last - row.first
            parts = []
            for place, column in enumerate(columns, 1):
                logits = self._tile(images[..., row.start : row.stop, column.start : column.stop])
                logits = logits.narrow(1, row.skip, height).narrow(2, column.skip, column.last - column.first)
                parts.append(logits.clone())  # not a view, so that what is cut off is freed
                told_within(number * len(columns) + place, len(rows) * len(columns), "tile")
            yield torch.cat(parts, 2)

    def _tile(self, images: Tensor) -> Tensor:
        """Logits (K, h, w) of one tile, averaged over its mirror images when asked for."""
        total: Tensor | None = None
        for flip in _FLIPS[: self.mirrorings]:
            logits = self.head(self.model.pyramid(images.flip(flip) if flip else images))[0].float()
            logits = logits.flip(flip) if flip else logits
            total = logits if total is None else total.add_(logits)
        if total is None:
            raise ValueError(f"mirrorings must be 1, 2 or 4, not {self.mirrorings}")
        return total if self.mirrorings == 1 else total.div_(self.mirrorings)


def predict_tiled(
    model: VisionModel,
    batch: Batch,
    tile: TileSide = "auto",
    *,
    mirrorings: Mirrorings = 1,
    memory: PositiveInt = MEMORY,
) -> list[Prediction]:
    """`TiledPrediction` for one batch. For many, keep the object: what it measures of the model is measured once.

    Args:
        model: the model, with a dense head.
        batch: pictures as `VisionModel.predict` takes them.
        tile: side of a tile in pixels, or "auto"; see `TiledPrediction`.
        mirrorings: 1 shows each tile once, 4 also its mirror images; see `TiledPrediction`.
        memory: bytes that a picture may need to be shown whole, for `auto`.
    """
    return TiledPrediction(model, tile, mirrorings, memory)(batch)
