"""The probabilities of all classes at every pixel, and their entropy, in memory for some rows beside the result."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from toolkit.ops.map_parts import Line, read_part

_BAND_VALUES = 1 << 22
"""Numbers a band of rows may hold (16 MiB of float32)."""


def entropy_bits(probabilities: Tensor) -> Tensor:
    """Entropy over the first axis in bits, at least 0: (K, ...) probabilities to (...).

    >>> entropy_bits(torch.tensor([[0.5, 1.0], [0.5, 0.0]])).tolist()
    [1.0, 0.0]
    """
    return torch.special.entr(probabilities).sum(0).clamp_(min=0) / math.log(2)


def measures_of_part(
    maps: Tensor, rows: Line, columns: Line, *, logits: bool, probabilities: bool, entropy: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Probabilities (K, R, C) float16 and their entropy (R, C) float32 in bits, of a rectangle of results, on the CPU.

    None stands for what is not wanted. Maps are read as for labels (`ops/map_parts.py`), so that the largest probability is
    that of the label but for rounding.

    Args:
        maps: (K, h, w) float values of a map or a piece of it.
        rows: where in it the rows of the rectangle are read.
        columns: where in it the columns are read.
        logits: whether probabilities are softmaxes of the values; False takes the values themselves.
        probabilities: whether the probabilities of the classes are wanted.
        entropy: whether their entropy is wanted.
    """
    size = (rows.results, columns.results)
    found = torch.empty((maps.shape[0], *size), dtype=torch.float16) if probabilities else None
    bits = torch.empty(size) if entropy else None
    step = max(1, _BAND_VALUES // (maps.shape[0] * len(columns.cells)))
    for start in range(0, size[0] if probabilities or entropy else 0, step):
        stop = min(start + step, size[0])
        values = read_part(maps, rows.part(start, stop), columns).float()
        values = values.softmax(0) if logits else values
        if found is not None:
            found[:, start:stop] = values
        if bits is not None:
            bits[start:stop] = entropy_bits(values)
    return found, bits
