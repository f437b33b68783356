"""Answers for a rectangle of a picture's pixels, from the piece of a map that they are read in: memory for the piece."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from toolkit.contracts import Part
from toolkit.ops.argmax import best_classes
from toolkit.ops.resize import Grid, pixel_positions, resize_positions, sample_rows

_BAND_VALUES = 1 << 22
"""Numbers a band of resized rows may hold (16 MiB of float32)."""
_FRACTIONS = 2.0**30
"""Positions are multiples of 1 / this, so that a whole number can be taken from them without rounding."""


class Line(NamedTuple):
    """Where a stretch of results is read, along one axis of a map or of a piece of it.

    Args:
        cells: (P,) float64 place of each pixel of the network's input, in cells of the piece.
        pixels: (R,) float64 place of each result among those pixels; None where the results are the pixels themselves.
    """

    cells: Tensor
    pixels: Tensor | None

    @property
    def results(self) -> int:
        """How many results are read."""
        return len(self.cells if self.pixels is None else self.pixels)

    def first_and_last(self) -> tuple[Tensor, Tensor]:
        """The first and the last cell that each result needs, (R,) int64 each."""
        if self.pixels is None:
            return self.cells.floor().long(), self.cells.ceil().long()
        begin, end = self.pixels.floor().long(), self.pixels.ceil().long()
        return self.cells[begin].floor().long(), self.cells[end].ceil().long()

    def part(self, first: int, last: int, cell: int = 0) -> Line:
        """The results first .. last - 1, read in the piece of the map that begins at a cell.

        Args:
            first: result that is the first of the part.
            last: result behind the last one of the part.
            cell: cell of the map that is the first of the piece.
        """
        if self.pixels is None:
            return Line(self.cells[first:last] - cell, None)
        places = self.pixels[first:last]
        begin, end = int(places[0]), int(places[-1].ceil()) + 1
        return Line(self.cells[begin:end] - cell, places - begin)


def lines_of(
    cells: tuple[int, int], stride: int, size: tuple[int, int], original_size: tuple[int, int], grid: Grid
) -> tuple[Line, Line]:
    """The rows and the columns of a picture's results, read in the whole map.

    Args:
        cells: (h, w) of the map.
        stride: pixels of the network's input from one cell to the next.
        size: (height, width) of the network's input in pixels, which the map is upsampled to.
        original_size: (height, width) of the results, to which those pixels are resized.
        grid: where in the image the value of a cell stands (`ops/resize.py`).
    """

    def line(cells: int, size: int, original: int) -> Line:
        places = resize_positions(size, original) if scaled else None
        return Line(_exact(pixel_positions(cells, stride, size, grid)), None if places is None else _exact(places))

    scaled = size != original_size
    rows, columns = map(line, cells, size, original_size)
    return rows, columns


def lines_of_part(part: Part, stride: int, grid: Grid) -> tuple[Line, Line]:
    """The rows and the columns of a rectangle of results, read in its piece of the map.

    Args:
        part: the rectangle and the piece.
        stride: pixels of the network's input from one cell to the next.
        grid: where in the image the value of a cell stands (`ops/resize.py`).
    """
    whole = lines_of(part.cells, stride, part.size, part.original_size, grid)
    rows, columns = (line.part(*ends) for line, *ends in zip(whole, part.start, part.stop, part.piece, strict=True))
    return rows, columns


def _exact(positions: Tensor) -> Tensor:
    return (positions * _FRACTIONS).round() / _FRACTIONS


def read_part(maps: Tensor, rows: Line, columns: Line) -> Tensor:
    """The values (K, R, C) of a rectangle of results, bilinear, on the device of the maps.

    Args:
        maps: (K, h, w) float values of a map or a piece of it.
        rows: where in it the rows of the rectangle are read.
        columns: where in it the columns are read.
    """
    pixels = sample_rows(maps.permute(1, 2, 0), rows.cells, columns.cells)
    if rows.pixels is not None and columns.pixels is not None:
        pixels = sample_rows(pixels, rows.pixels, columns.pixels)
    return pixels.permute(2, 0, 1)


def labels_of_part(
    maps: Tensor, rows: Line, columns: Line, *, logits: bool = True, with_scores: bool = False
) -> tuple[Tensor, Tensor | None]:
    """The largest class of each result of a rectangle, and its probability when asked for, on the CPU.

    The maps are upsampled and resized as `read_part` does, and then compared; how a picture is cut into rectangles
    changes nothing. Returns labels (R, C) uint8 and scores float32.

    Args:
        maps: (K, h, w) float values of a map or a piece of it.
        rows: where in it the rows of the rectangle are read.
        columns: where in it the columns are read.
        logits: whether scores are softmaxes of the values; False takes the values themselves.
        with_scores: whether scores are computed too; None stands for them otherwise.

    >>> map = torch.tensor([[[4.0], [0.0], [0.0]], [[0.0], [4.0], [4.0]]])  # two classes, three rows, one column
    >>> lines = lines_of((3, 1), 1, (3, 1), (3, 1), "half_pixel")
    >>> labels_of_part(map, *lines)[0].flatten().tolist()
    [0, 1, 1]
    """
    if rows.pixels is None or columns.pixels is None:
        labels, scores = best_classes(maps, rows.cells, columns.cells, logits=logits, with_scores=with_scores)
        return labels.cpu(), None if scores is None else scores.cpu()
    size = (rows.results, columns.results)
    labels, scores = torch.empty(size, dtype=torch.uint8), torch.empty(size) if with_scores else None
    last_first = maps.permute(1, 2, 0)
    step = max(1, _BAND_VALUES // (maps.shape[0] * len(columns.cells)))
    for start in range(0, size[0], step):
        band = slice(start, start + step)
        own = rows.part(start, min(start + step, size[0]))
        if own.pixels is None:
            raise TypeError("results that are resized have places among the pixels")
        pixels = sample_rows(last_first, own.cells, columns.cells).permute(2, 0, 1)
        found = best_classes(pixels, own.pixels, columns.pixels, logits=logits, with_scores=with_scores)
        labels[band] = found[0]
        if scores is not None and found[1] is not None:
            scores[band] = found[1]
    return labels, scores
