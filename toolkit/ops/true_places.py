"""Where masks are true, with one wait for the device however many masks there are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def true_places(masks: Sequence[Tensor]) -> list[Tensor]:
    """Indices, ascending, of the true elements of each one-dimensional mask: (T_i,) int64 each.

    How long a result is the host has to know, for which it waits until a GPU has counted; here once for all masks.

    >>> [each.tolist() for each in true_places([torch.tensor([True, False, True]), torch.tensor([False])])]
    [[0, 2], []]
    """
    if not masks or masks[0].device.type != "cuda":
        return [mask.nonzero()[:, 0] for mask in masks]
    counts = torch.stack([mask.sum() for mask in masks]).tolist()
    return [torch.nonzero_static(mask, size=count)[:, 0] for mask, count in zip(masks, counts, strict=True)]
