"""The best class of every pixel, from maps on a coarser grid, without ever holding all classes at full size."""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit.ops.resize import sample_rows

_BAND_VALUES = 1 << 20
"""Numbers a band of rows may hold (4 MiB of float32): a 19-class image of 1024x2048 is worked off in 40 bands."""


def best_classes(
    maps: Tensor, rows: Tensor, columns: Tensor, *, logits: bool = True, with_scores: bool = False
) -> tuple[Tensor, Tensor | None]:
    """The class with the largest value at each crossing of fractional rows and columns, in bands that bound the memory.

    Returns labels (len(rows), len(columns)) uint8 and, when asked for, the probability of that class, float32: softmax
    of the interpolated `logits`, or else the interpolated value itself. Of equal classes any may win.

    Args:
        maps: (K, h, w) float values of K classes, K up to 255.
        rows: ascending fractional rows to read at, float64, 0..h-1 (`ops/resize.py`).
        columns: fractional columns to read at, float64, 0..w-1.
        logits: whether a score is the softmax of the values; False takes the values for probabilities.
        with_scores: whether scores are computed too; None stands for them otherwise.

    >>> maps = torch.tensor([[[4.0, 0.0]], [[0.0, 2.0]]])  # class 0 is sure on the left, class 1 on the right
    >>> best_classes(maps, torch.tensor([0.0]), torch.tensor([0.0, 0.5, 0.75, 1.0]))[0].tolist()
    [[0, 0, 1, 1]]
    """
    maps = maps.permute(1, 2, 0).contiguous()
    labels = torch.empty(len(rows), len(columns), dtype=torch.uint8, device=maps.device)
    scores = torch.empty(labels.shape, device=maps.device) if with_scores else None
    step = max(1, _BAND_VALUES // (maps.shape[2] * len(columns)))
    for start in range(0, len(rows), step):
        band = slice(start, start + step)
        values = sample_rows(maps, rows[band], columns)
        best = values.argmax(-1)
        labels[band] = best
        if scores is not None:
            highest = values.gather(-1, best[..., None])[..., 0]
            scores[band] = (highest - values.logsumexp(-1)).exp() if logits else highest
    return labels, scores
