"""Answers for every pixel of pictures that are too large to go through the net at once: the same result, tile by tile."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol, cast

import torch
from torch import Tensor

from toolkit.bounds import PositiveInt
from toolkit.contracts import HEADS, DenseHead, Part
from toolkit.errors import PartsError, Problem
from toolkit.inference.tiling.choice import Pair, TilePlan, plan_of_side, plan_within
from toolkit.inference.tiling.geometry import cells_of, measure_geometry, unprobed_geometry
from toolkit.inference.tiling.memory import MEASURED_SIDE, tile_memory
from toolkit.inference.tiling.plan import Results, Tile, TileGeometry
from toolkit.layers.row_bands import in_row_bands
from toolkit.models.monte_carlo import moments, placed_samples
from toolkit.models.placed_dropout import Strides
from toolkit.models.vision_model import VisionModel
from toolkit.ops.map_parts import lines_of
from toolkit.ops.padding import mirror_positions
from toolkit.progress import told, told_within
from toolkit.samples import Batch, Prediction, each_image

TileSide = PositiveInt | Literal["auto"]
Mirrorings = Literal[1, 2, 4]
MEMORY = 10**9
"""Bytes a picture may take beside the model before `auto` tiles it."""
_FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
_SAID = 3
"""Plans that are said; those of further sizes of pictures are not."""
_LOG = logging.getLogger(__name__)


class Pixels(Protocol):
    """A picture of which parts are asked for."""

    @property
    def size(self) -> Pair:
        """Its (height, width)."""
        ...

    @property
    def original_size(self) -> Pair:
        """(height, width) of the answer."""
        ...

    @property
    def held(self) -> int:
        """Bytes of it that are in memory all the time."""
        ...

    @property
    def answer_held(self) -> bool:
        """Whether the whole answer is kept until the last tile is done."""
        ...

    def window(self, rows: slice, columns: slice) -> Tensor:
        """(1, C, h, w) uint8, or float 0..1, of a rectangle, on the model's device."""
        ...


class HeldPixels(NamedTuple):
    """A picture in memory.

    Args:
        images: (1, C, H, W) uint8, or float 0..1.
        original_size: (height, width) of the answer.
    """

    images: Tensor
    original_size: Pair

    @property
    def size(self) -> Pair:
        """(height, width)."""
        return (self.images.shape[-2], self.images.shape[-1])

    @property
    def held(self) -> int:
        """Its bytes, once as it was read and once as it is shown."""
        return 2 * self.images.numel() * self.images.element_size()

    @property
    def answer_held(self) -> bool:
        """It is."""
        return True

    def window(self, rows: slice, columns: slice) -> Tensor:
        """A view of a rectangle."""
        return self.images[..., rows, columns]

    @staticmethod
    def of(single: Batch) -> HeldPixels:
        """The picture of a batch of one."""
        height, width = single.original_sizes[0].tolist()
        return HeldPixels(single.images, (height, width))


class TiledPrediction:
    """Predicts as `VisionModel.predict` does, but never shows the net more than a tile; one picture at a time.

    Tiles overlap by what their edges cannot know, start at multiples of the net's total stride, and each pixel is
    answered by one of them, cut in the middle of an overlap. So the answer is that of the whole picture but for rounding, for
    every net of local layers, padded or not (`TileGeometry.exact`). Memory beyond the picture and its answer is that of
    one tile.

    With `model.samples` above 1, samples draw the same at the same place in every tile (`models/placed_dropout.py`).

    Raises PartsError for a model whose head is not dense, or samples of mirrored pictures; calls raise ConfigError for a
    tile that is too small, and what `VisionModel.predict` raises.

    Args:
        model: the model, with a dense head.
        tile: the most pixels of a tile's side as they enter the net, borders and surroundings included. `auto`: the tiles
            that compute the fewest pixels twice of all that need at most `memory` bytes; the whole picture where it does.
        mirrorings: 2 averages the logits over the picture and its mirror image left-right, 4 also over those up-down
            and both, as the U-Net's authors do (2015 release); the picture is then padded at the bottom and right, by
            mirroring, to a multiple of the net's total stride. The model should be in eval mode.
        memory: bytes that a picture, its answer and a tile may take beside the model, for `auto`.
    """

    def __init__(
        self, model: VisionModel, tile: TileSide = "auto", mirrorings: Mirrorings = 1, memory: PositiveInt = MEMORY
    ) -> None:
        if not isinstance(model.head, DenseHead):
            found = HEADS.name_of(type(model.head))
            message = f"only models that answer with pixels or boxes can be tiled; this one has the head '{found}'"
            raise PartsError(Problem("tile", message, "leave `tile` out and shrink the pictures"))
        if model.samples > 1 and mirrorings > 1:
            message = f"mirrored pictures cannot be had together with model.samples, which is {model.samples}"
            raise PartsError(Problem("mirrorings", message, "leave one of the two out"))
        self.model = model
        self.head = model.head
        self.tile = tile
        self.mirrorings = mirrorings
        self.memory = memory
        self._start = unprobed_geometry(model, self.head.stride)
        self._geometry: TileGeometry | None = None
        self._cells: dict[Pair, Pair] = {}
        self._noise_strides: Strides = {}
        self._plans: dict[tuple[Pair, Pair], TilePlan] = {}

    @property
    def geometry(self) -> TileGeometry:
        """What the model asks of tiles; measured the first time it is needed."""
        if self._geometry is None:
            self._geometry = measure_geometry(self.model, self.head.stride)
        return self._geometry

    def refuse_too_small(self) -> None:
        """Raises ConfigError for tiles that no picture can be cut into."""
        if self.tile != "auto":
            self.geometry.largest(self.tile)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> list[Prediction]:
        """One prediction an image, in original pixels, on the CPU."""
        table = self.model.class_table
        return [self._joined(HeldPixels.of(single)).of_classes(table) for single in each_image(batch)]

    def _joined(self, pixels: Pixels) -> Prediction:
        """The answer for the whole picture."""
        whole: list[Tensor | None] = []
        kind: type[Any] | None = None
        for part, found in self.parts(pixels):
            if part.start == (0, 0) and part.stop == part.original_size:
                return found
            if kind is None:
                kind = type(found)
                whole = [
                    None if one is None else one.new_empty((*one.shape[:-2], *part.original_size)) for one in found
                ]
            (top, left), (bottom, right) = part.start, part.stop
            for place, one in zip(whole, found, strict=True):
                if place is not None:
                    # What the first tile answers, all do.
                    place[..., top:bottom, left:right] = cast(Tensor, one)
        if kind is None:
            raise ValueError("a picture has at least one tile")
        return cast(Prediction, kind(*whole))

    def parts(self, pixels: Pixels) -> Iterator[tuple[Part, Prediction]]:
        """The rectangles of the answer, one row of tiles after the other, as they are made. Use it in inference mode."""
        plan, cells = self.plan(pixels), self._cells_of(pixels)
        if self.model.samples > 1 and len(plan.rows) * len(plan.columns) > 1:
            self._measure_noise()
        for row, column, images in self._tiles(pixels, plan):
            part = Part(
                cells, pixels.size, pixels.original_size,
                (row.first, column.first), (row.last, column.last), (row.cell, column.cell),
            )  # fmt: skip
            with in_row_bands():
                found = self._answer(images, part, (row.start, column.start))
            yield part, found

    def outputs(self, single: Batch) -> Tensor:
        """The head's raw output (K, h, w) float32 for the whole picture of a batch of one. Use it in inference mode."""
        pixels = HeldPixels.of(single)
        cells = self._cells_of(pixels)
        whole: Tensor | None = None
        for row, column, images in self._tiles(pixels, self._planned(pixels, (None, None))):
            with in_row_bands():
                raw = self._tile(images)
            if whole is None:
                whole = raw.new_empty((raw.shape[0], *cells))
            own = raw[
                :, row.first - row.cell : row.last - row.cell, column.first - column.cell : column.last - column.cell
            ]
            whole[:, row.first : row.last, column.first : column.last] = own
        if whole is None:
            raise ValueError("a picture has at least one tile")
        return whole

    def plan(self, pixels: Pixels) -> TilePlan:
        """The tiles of a picture; said once for a size."""
        key = (pixels.size, pixels.original_size)
        if key not in self._plans:
            found = self._planned(pixels, self._results(pixels))
            if len(found.rows) * len(found.columns) > 1 and len(self._plans) < _SAID:
                told(str(found), _LOG)
            if self.tile == "auto" and found.bytes is not None and found.bytes > self.memory:
                _LOG.warning(
                    "the smallest tiles of this model take about %.1f GB for a picture of %dx%d, more than the %.1f GB "
                    "that they should", found.bytes / 1e9, *found.size, self.memory / 1e9,
                )  # fmt: skip
            self._plans[key] = found
        return self._plans[key]

    def _planned(self, pixels: Pixels, results: Sequence[Results | None]) -> TilePlan:
        size, cells = self._entering(pixels.size), self._cells_of(pixels)
        if self.tile != "auto":
            if max(size) <= self.tile:
                return plan_of_side(size, cells, max(size), self._start, results)
            reach = max(0 if read is None else read.reach for read in results)
            side = self.geometry.reaching(reach).largest(self.tile)
            return plan_of_side(size, cells, side, self.geometry, results)
        if self.model.fixed_size is not None:  # it cannot be asked for a smaller one, to see what that takes
            return plan_of_side(size, cells, max(size), self._start, results)
        answers = pixels.original_size[0] * pixels.original_size[1] if pixels.answer_held else 0
        held = pixels.held + self._answer_bytes * answers

        if self.memory >= MEMORY and max(size) <= self._start.legal(2 * self.model.border + MEASURED_SIDE):
            # Finding out what it takes would take as much: the forecast makes a pass of that size.
            return plan_of_side(size, cells, max(size), self._start, results)

        def cost(tile: Pair) -> float:
            return held + self._forecast.bytes(tile)

        if cost(size) <= self.memory:
            return plan_of_side(size, cells, max(size), self._start, results)._replace(bytes=cost(size))
        return plan_within(size, cells, self.geometry, results, cost, self.memory)

    def _tiles(self, pixels: Pixels, plan: TilePlan) -> Iterator[tuple[Tile, Tile, Tensor]]:
        """Tiles and the pixels (1, C, h, w) of each."""
        lines = self._lines(pixels.size)
        number, count = 0, len(plan.rows) * len(plan.columns)
        for row in plan.rows:
            for column in plan.columns:
                yield row, column, _window(pixels, lines, row, column)
                number += 1
                told_within(number, count, "tile")

    def _answer(self, images: Tensor, part: Part, start: Pair = (0, 0)) -> Prediction:
        """The answer of one tile for a rectangle.

        Args:
            images: (1, C, h, w), the tile.
            part: the rectangle, and where the tile's cells lie.
            start: (row, column) of the tile's first pixel, for what samples draw there.
        """
        if self.model.samples == 1:
            return self.head.predict_part(self._tile(images), part)
        with placed_samples(self.model) as noise:
            noise.strides = self._noise_strides

            def passed(sample: int) -> Tensor:
                noise.begin(sample, start)
                return self.head.sampled(self._tile(images)[None])

            mean, variance = moments(passed, self.model.samples)
        return self.head.predict_samples(mean[0], variance[0], part)

    def _measure_noise(self) -> None:
        """Finds out on which strides dropout draws."""
        if self._noise_strides:
            return
        side = self._start.legal(2 * self.model.border + 4 * self._start.align)
        sizes = ((side, side), (side + 2 * self._start.align,) * 2)
        with placed_samples(self.model) as noise:
            noise.measure(lambda size: self._tile(self._black(size)), sizes)
            self._noise_strides = noise.strides

    def _black(self, size: Pair) -> Tensor:
        device = self.model.pixel_scale.device
        return torch.zeros((1, self.model.in_channels, *size), dtype=torch.uint8, device=device)

    def _entering(self, size: Pair) -> Pair:
        """(height, width) of a picture as the net gets to see it."""
        rows, columns = self._lines(size)
        return len(rows), len(columns)

    def _lines(self, size: Pair) -> list[Tensor]:
        """Which row and which column of the picture stands where in what the net gets to see."""
        lines = self.model.prepared_lines(size)
        if self.mirrorings == 1:
            return list(lines)
        # Mirrored tiles lie as the tiles of the mirrored picture do only if the picture is as a tile is.
        return [line[mirror_positions(len(line), 0, self._start.legal(len(line)) - len(line))] for line in lines]

    def _cells_of(self, pixels: Pixels) -> Pair:
        size = self._entering(pixels.size)
        if size not in self._cells:
            self._cells[size] = cells_of(self.model, size, self._start)
        return self._cells[size]

    def _results(self, pixels: Pixels) -> list[Results | None]:
        """What cells each row and each column of the answer needs."""
        cells = self._cells_of(pixels)
        lines = lines_of(cells, self.head.stride, pixels.size, pixels.original_size, self.head.grid)
        return [Results(*(one.numpy() for one in line.first_and_last())) for line in lines]

    @cached_property
    def _forecast(self) -> Any:
        return tile_memory(self.model, self._whole_tile, self._start.legal)

    @cached_property
    def _answer_bytes(self) -> int:
        """Bytes of the answer for a pixel."""
        side = self._start.legal(2 * self.model.border + 1)
        found = self._whole_tile(self._black((side, side)))
        maps = [one for one in found if isinstance(one, Tensor)]
        return sum(one.element_size() * one.shape[:-2].numel() for one in maps)

    def _whole_tile(self, images: Tensor) -> Prediction:
        """The answer for a tile alone, as if it were the picture without its border."""
        with torch.inference_mode():
            size = (images.shape[-2] - 2 * self.model.border, images.shape[-1] - 2 * self.model.border)
            cells = cells_of(self.model, (images.shape[-2], images.shape[-1]), self._start)
            return self._answer(images, Part.whole(cells, size, size))

    def _tile(self, images: Tensor) -> Tensor:
        """Raw output (K, h, w) of one tile, averaged over its mirror images when asked for."""
        total: Tensor | None = None
        for flip in _FLIPS[: self.mirrorings]:
            logits = self.head(self.model.pyramid(images.flip(flip) if flip else images))[0].float()
            logits = logits.flip(flip) if flip else logits
            total = logits if total is None else total.add_(logits)
        if total is None:
            raise ValueError(f"mirrorings must be 1, 2 or 4, not {self.mirrorings}")
        return total if self.mirrorings == 1 else total.div_(self.mirrorings)


def _window(pixels: Pixels, lines: Sequence[Tensor], row: Tile, column: Tile) -> Tensor:
    """A tile's pixels, mirrored where it reaches beyond the picture."""
    rows, columns = (line[tile.start : tile.stop] for line, tile in zip(lines, (row, column), strict=True))
    tops, lefts = (slice(int(line.min()), int(line.max()) + 1) for line in (rows, columns))
    found = pixels.window(tops, lefts)
    for axis, line, own in ((-2, rows, tops), (-1, columns, lefts)):
        places = line - own.start
        if not torch.equal(places, torch.arange(found.shape[axis])):
            found = found.index_select(axis, places.to(found.device))
    return found


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
        tile: the most pixels of a tile's side, or "auto"; see `TiledPrediction`.
        mirrorings: 1 shows each tile once, 4 also its mirror images; see `TiledPrediction`.
        memory: bytes that a picture, its answer and a tile may take, for `auto`.
    """
    return TiledPrediction(model, tile, mirrorings, memory)(batch)
