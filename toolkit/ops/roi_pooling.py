"""Cutting boxes out of feature maps: RoIAlign, RoI max pooling and the choice of the pyramid level.

On a CPU, RoIAlign with a fixed number of samples is written as what it is, a weighted sum of rows of the map: each
output cell is `embedding_bag` over 4 * sampling^2 positions. It equals torchvision's operator to rounding, and its
backward pass adds whole rows of channels instead of single numbers, which is where a training step on a CPU spends
a third of its time. Everywhere else, and for everything else, torchvision's operators do the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from toolkit.ops.true_places import true_places

PoolKind = Literal["align", "align_half_pixel", "max"]
"""RoIAlign as torchvision's detectors use it (aligned=False), as detectron2 does (aligned=True: half a cell to the
upper left), and the rounding RoI max pooling of Fast R-CNN."""


class MapRows(NamedTuple):
    """The maps of a pyramid as one table with a row of channels for each cell.

    Args:
        rows: (N * cells, C) float32, image after image, in an image map after map, in a map row by row.
        sizes: (height, width) of each map in cells.
        starts: number of the first cell of each map in an image.
        cells: number of cells of all maps of an image.
    """

    rows: Tensor
    sizes: tuple[tuple[int, int], ...]
    starts: tuple[int, ...]
    cells: int

    @staticmethod
    def of(maps: Sequence[Tensor]) -> MapRows:
        """The table of maps (N, C, H_i, W_i) of equal channels."""
        sizes = tuple((m.shape[2], m.shape[3]) for m in maps)
        starts = [0]
        for height, width in sizes:
            starts.append(starts[-1] + height * width)
        rows = torch.cat([m.flatten(2).transpose(1, 2).float() for m in maps], 1)
        return MapRows(rows.flatten(0, 1), sizes, tuple(starts[:-1]), starts[-1])

    def per_box(self, numbers: Sequence[int], levels: Tensor) -> Tensor:
        """One number a map, picked for each box by its map's index."""
        return torch.tensor(list(numbers), device=levels.device)[levels]


def pyramid_levels(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """Index of the map each box is cut from: the one whose stride suits its size, or the nearest that exists: (N,).

    A box of 224x224 pixels belongs on stride 16, and each halving of its side one level finer (Feature Pyramid
    Networks, section 4.2, eq. 1). 1e-6 before rounding down is torchvision's. Strides must be powers of two, one
    after the other.

    >>> pyramid_levels(torch.tensor([[0.0, 0, 224, 224], [0, 0, 112, 112], [0, 0, 9, 9]]), (4, 8, 16, 32)).tolist()
    [2, 1, 0]
    """
    finest = strides[0].bit_length() - 1
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    levels = torch.floor(4 + torch.log2(sides / 224) + 1e-6).clamp(finest, finest + len(strides) - 1)
    return levels.long() - finest


def pool_boxes(
    maps: Sequence[Tensor],
    strides: Sequence[int],
    boxes: Tensor,
    images: Tensor,
    kind: PoolKind = "align",
    size: int = 7,
    sampling: int = 2,
) -> Tensor:
    """Cuts boxes out of the maps of a pyramid: (P, C, size, size) float32.

    For "max", x2 and y2 of the boxes are inclusive, as Fast R-CNN's operator reads them.

    Args:
        maps: (N, C, H_i, W_i) float each, of equal channels, finest first.
        strides: pixels of the image from one cell to the next, of each map.
        boxes: (P, 4) xyxy proposals in pixels of the image.
        images: (P,) int64, which of the N images each box belongs to.
        kind: RoIAlign with or without the shift by half a cell, or rounding max pooling.
        size: cells of the result along each side.
        sampling: samples along each side of a cell of the result; 0 takes as many as it covers map cells (RoIAlign only).

    >>> ramp = torch.arange(8.0).repeat(8, 1)[None, None]  # a map whose value is its column
    >>> box = torch.tensor([[8.0, 8.0, 24.0, 24.0]])
    >>> pool_boxes([ramp], [4], box, torch.tensor([0]), "align_half_pixel", size=2)[0, 0, 0].tolist()
    [2.5, 4.5]
    """
    if maps[0].device.type == "cpu" and kind != "max" and sampling and not torch.compiler.is_compiling():
        return align_rows(MapRows.of(maps), strides, boxes, images, kind == "align_half_pixel", size, sampling)
    rois = torch.cat((images[:, None].to(boxes), boxes), 1)
    if len(maps) == 1 or boxes.is_meta:  # on the meta device every box has the same shape on every map
        return _pool_one(maps[0].float(), strides[0], rois, kind, size, sampling)
    levels = pyramid_levels(boxes, strides)
    of_level = [levels == index for index in range(len(maps))]
    # A program of PyTorch takes it that at least two boxes reach each map: two that are cut off again see to it.
    more = 2 if torch.compiler.is_compiling() else 0
    if more:
        rois, of_level = F.pad(rois, (0, 0, 0, more)), [F.pad(mask, (0, more), value=True) for mask in of_level]
    pooled = maps[0].new_zeros((rois.shape[0], maps[0].shape[1], size, size), dtype=torch.float32)
    for one, stride, here in zip(maps, strides, true_places(of_level), strict=True):
        pooled = pooled.index_copy(0, here, _pool_one(one.float(), stride, rois[here], kind, size, sampling))
    return pooled[: boxes.shape[0]]


def _pool_one(one: Tensor, stride: int, rois: Tensor, kind: PoolKind, size: int, sampling: int) -> Tensor:
    from torchvision.ops import roi_align, roi_pool

    if kind == "max":
        return roi_pool(one, rois, size, 1 / stride)
    # torchvision's adaptive sampling is any number that is not positive, ONNX' is 0.
    return roi_align(one, rois, size, 1 / stride, sampling, aligned=kind == "align_half_pixel")


def align_rows(
    table: MapRows,
    strides: Sequence[int],
    boxes: Tensor,
    images: Tensor,
    half_pixel: bool = False,
    size: int = 7,
    sampling: int = 2,
) -> Tensor:
    """RoIAlign from the first len(strides) maps of a table: (P, C, size, size) float32.

    Bilinear sampling is separable: a sample has two rows and two columns with a weight each, so an output cell sums
    (2 * sampling) x (2 * sampling) products of a row's and a column's weight.

    Args:
        table: the maps as rows of channels (`MapRows.of`).
        strides: pixels of the image from one cell to the next, of each map.
        boxes: (P, 4) xyxy proposals in pixels of the image.
        images: (P,) int64, which image of the table each box belongs to.
        half_pixel: whether boxes are moved by half a cell to the upper left (detectron2's `aligned`).
        size: cells of the result along each side.
        sampling: samples along each side of a cell of the result, 1 or more.
    """
    levels = pyramid_levels(boxes, strides) if len(strides) > 1 else torch.zeros_like(images)
    scaled = boxes / table.per_box(strides, levels)[:, None] - (0.5 if half_pixel else 0.0)
    sides = scaled[:, 2:] - scaled[:, :2]
    steps = (sides if half_pixel else sides.clamp(min=1)) / size
    height, width = (table.per_box([each[side] for each in table.sizes], levels) for side in (0, 1))
    y, y_weights = _samples(scaled[:, 1], steps[:, 1], height, size, sampling)
    x, x_weights = _samples(scaled[:, 0], steps[:, 0], width, size, sampling)
    first = images * table.cells + table.per_box(table.starts, levels)
    y = y * width[:, None, None] + first[:, None, None]
    cells = y[:, :, None, :, None] + x[:, None, :, None, :]
    weights = y_weights[:, :, None, :, None] * x_weights[:, None, :, None, :]
    bag = 4 * sampling * sampling
    pooled = F.embedding_bag(
        cells.reshape(-1, bag), table.rows, mode="sum", per_sample_weights=weights.reshape(-1, bag)
    )
    shape = len(boxes), size * size, table.rows.shape[1]
    return pooled.view(shape).transpose(1, 2).reshape(shape[0], shape[2], size, size)


def _samples(start: Tensor, step: Tensor, limit: Tensor, size: int, sampling: int) -> tuple[Tensor, Tensor]:
    """Along one axis, the two cells each sample lies between and their weights: (P, size, 2 * sampling) both.

    torchvision's borders: up to one cell outside the map a sample takes the edge's value, beyond that it is 0.
    """
    bins = torch.arange(size, device=start.device)[:, None]
    parts = torch.arange(sampling, device=start.device) + 0.5
    position = start[:, None, None] + bins * step[:, None, None] + parts * step[:, None, None] / sampling
    last = (limit - 1)[:, None, None]
    counts = (position >= -1) & (position <= last + 1)
    position = torch.minimum(position.clamp(min=0), last)
    low = position.long()
    high = torch.minimum(low + 1, last)
    fraction = position - low
    weights = torch.stack((1 - fraction, fraction), -1) * (counts[..., None] / sampling)
    return torch.stack((low, high), -1).flatten(2), weights.flatten(2)
