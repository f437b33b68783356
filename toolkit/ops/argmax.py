"""The best class of every pixel, from maps on a coarser grid, without ever holding all classes at full size."""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit.ops.resize import sample_rows

_BAND_VALUES = 1 << 22
"""Numbers a band of rows may hold (16 MiB of float32): a 19-class image of 1024x2048 is worked off in 10 bands."""


def best_classes(
    maps: Tensor, rows: Tensor, columns: Tensor, *, logits: bool = True, with_scores: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Maps (K, h, w) float read at fractional rows and columns (`ops/resize.py`), and the largest class there.

    Returns labels (len(rows), len(columns)) uint8 and, when asked for, the probability of that class, float32: softmax
    of the interpolated `logits`, or else the interpolated value itself. Of equal classes the first wins.
    """
    labels = torch.empty(len(rows), len(columns), dtype=torch.uint8, device=maps.device)
    scores = torch.empty(labels.shape, device=maps.device) if with_scores else None
    step = max(1, _BAND_VALUES // (maps.shape[0] * len(columns)))
    for start in range(0, len(rows), step):
        band = slice(start, start + step)
        values = sample_rows(maps, rows[band], columns)
        best = values.max(0)  # its indices come about four times faster than argmax over the first dimension
        labels[band] = best.indices
        if scores is not None:
            scores[band] = (best.values - values.logsumexp(0)).exp() if logits else best.values
    return labels, scores
