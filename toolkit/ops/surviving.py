"""Non-maximum suppression of many groups of boxes at once, in shapes that a written-down program can promise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

ABSENT = -1.0
"""Score of a place where no box is."""
_APART = ((-2.0, -2.0, -1.0, -1.0), (-4.0, -4.0, -3.0, -3.0))
"""Boxes beside all boxes of pictures."""


def surviving(boxes: Tensor, scores: Tensor, iou: float, limit: int) -> Tensor:
    """The scores (G, M) of boxes that survive greedy suppression within their group; `ABSENT` for all others.

    A box goes when its IoU with a better box of its group is above `iou`; of equal scores the first is the better.
    Coordinates are moved apart by group in float64, which keeps overlaps to 1e-12.

    Args:
        boxes: (G, M, 4) float xyxy pixels, x2 and y2 exclusive, none negative.
        scores: (G, M) float, 0..1, or `ABSENT` where there is no box.
        iou: largest overlap, 0..1, at which both of two boxes stay.
        limit: boxes of a group behind its best `limit` survivors are not needed; they may be left out.

    >>> boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 9]]])
    >>> surviving(boxes, torch.tensor([[0.75, 0.5, 0.25]]), 0.5, 10).tolist()
    [[0.75, -1.0, 0.25]]
    """
    from torchvision.ops import nms

    # Two boxes of a group of their own, which overlap nothing: a program of PyTorch takes it that at least two boxes
    # reach the suppression and pass it.
    number = scores.numel()
    corners = torch.cat((boxes.reshape(-1, 4).double(), boxes.new_tensor(_APART, dtype=torch.float64)))
    groups = torch.arange(scores.shape[0], device=scores.device)[:, None].expand(scores.shape).flatten()
    flat = F.pad(scores.flatten(), (0, len(_APART)), value=ABSENT)
    there = F.pad(scores.flatten() > ABSENT, (0, len(_APART)), value=True)
    apart = F.pad(groups * (boxes.amax().double() + 1), (0, len(_APART)))
    (places,) = there.nonzero(as_tuple=True)
    keep = places[nms((corners + apart[:, None])[places], flat[places].double(), iou)]
    kept = torch.full_like(flat, ABSENT).index_put((keep,), flat[keep])
    return kept[:number].view(scores.shape)
