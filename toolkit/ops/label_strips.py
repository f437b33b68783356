"""From a map that arrives strip by strip to the best class of every pixel: memory for a strip, not for the map."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from toolkit.ops.argmax import best_classes
from toolkit.ops.resize import Grid, pixel_positions, resize_positions, sample_rows

_BAND_VALUES = 1 << 22
"""Numbers a band of resized rows may hold (16 MiB of float32)."""


class _Lines(NamedTuple):
    """Where the results of one axis are read. All positions are fractional and float64.

    cells: of each pixel, in cells. pixels: of each result, in pixels; None when results are the pixels themselves.
    """

    cells: Tensor
    pixels: Tensor | None

    @staticmethod
    def of(cells: int, stride: int, size: int, original_size: int, grid: Grid, scaled: bool) -> _Lines:
        pixels = resize_positions(size, original_size) if scaled else None
        return _Lines(pixel_positions(cells, stride, size, grid), pixels)

    def first_and_last(self) -> tuple[Tensor, Tensor]:
        """The first and the last cell that each result needs, int64."""
        if self.pixels is None:
            return self.cells.floor().long(), self.cells.ceil().long()
        begin, end = self.pixels.floor().long(), self.pixels.ceil().long()
        return self.cells[begin].floor().long(), self.cells[end].ceil().long()


def labels_of_strips(
    strips: Iterable[Tensor],
    cells: tuple[int, int],
    stride: int,
    size: tuple[int, int],
    original_size: tuple[int, int],
    grid: Grid,
    *,
    logits: bool = True,
    with_scores: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """The largest class of each pixel of one image, and its probability when asked for, on the CPU.

    Strips are upsampled to `size`, from there resized to `original_size` (both bilinear), and then compared; where the
    strips are cut changes nothing. Returns labels (original_size) uint8 and scores float32. Raises ValueError when the
    strips are not h rows.

    Args:
        strips: (K, r, w) float each, the rows of a map from its top to its bottom; together they make `cells`.
        cells: (h, w) of the whole map, in cells.
        stride: pixels of the network's input from one cell to the next.
        size: (height, width) of the network's input in pixels.
        original_size: (height, width) of the image on disk, which the labels get.
        grid: where in the image the value of a cell stands (`ops/resize.py`).
        logits: whether scores are softmaxes of the values; False takes the values themselves.
        with_scores: whether scores are computed too; None stands for them otherwise.

    >>> map = torch.tensor([[[4.0], [0.0], [0.0]], [[0.0], [4.0], [4.0]]])  # two classes, three rows, one column
    >>> labels_of_strips([map[:, :1], map[:, 1:]], (3, 1), 1, (3, 1), (3, 1), "half_pixel")[0].flatten().tolist()
    [0, 1, 1]
    """
    scaled = original_size != size
    rows = _Lines.of(cells[0], stride, size[0], original_size[0], grid, scaled)
    columns = _Lines.of(cells[1], stride, size[1], original_size[1], grid, scaled)
    first, last = rows.first_and_last()
    labels = torch.empty(original_size, dtype=torch.uint8)
    scores = torch.empty(original_size) if with_scores else None
    kept: Tensor | None = None
    top = done = 0
    for strip in strips:
        kept = strip if kept is None else torch.cat([kept, strip], 1)
        ready = int(torch.searchsorted(last, top + kept.shape[1]))
        for start, stop in _bands(done, ready, kept.shape[0] * size[1] if scaled else 0):
            found, found_scores = _compared(kept, top, rows, columns, slice(start, stop), logits, with_scores)
            labels[start:stop] = found
            if scores is not None and found_scores is not None:
                scores[start:stop] = found_scores
        done = ready
        begin = int(first[done]) if done < len(first) else top + kept.shape[1]
        # A copy of the few rows still needed, so that the strip itself can be freed.
        kept, top = kept[:, max(0, begin - top) :].clone(), max(begin, top)
    if kept is None or top + kept.shape[1] != cells[0]:
        found_rows = 0 if kept is None else top + kept.shape[1]
        raise ValueError(f"strips of a map of {cells[0]} rows have {found_rows} together")
    return labels, scores


def _bands(start: int, stop: int, values_a_row: int) -> list[tuple[int, int]]:
    """The rows start..stop in pieces that hold at most `_BAND_VALUES`; in one piece when a row holds none."""
    step = max(1, _BAND_VALUES // values_a_row) if values_a_row else max(1, stop - start)
    return [(begin, min(begin + step, stop)) for begin in range(start, stop, step)]


def _compared(
    maps: Tensor, top: int, rows: _Lines, columns: _Lines, band: slice, logits: bool, with_scores: bool
) -> tuple[Tensor, Tensor | None]:
    """Labels and scores of a band of result rows, from maps (K, r, w) whose first row is row `top`."""
    if rows.pixels is None or columns.pixels is None:
        return best_classes(maps, rows.cells[band] - top, columns.cells, logits=logits, with_scores=with_scores)
    places = rows.pixels[band]
    begin, end = int(places[0]), int(places[-1].ceil()) + 1
    pixels = sample_rows(maps.permute(1, 2, 0), rows.cells[begin:end] - top, columns.cells)
    return best_classes(pixels.permute(2, 0, 1), places - begin, columns.pixels, logits=logits, with_scores=with_scores)
