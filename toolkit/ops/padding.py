"""Larger pictures for nets that cannot take every size: mirrored pixels, labels that do not count."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from toolkit.contracts import SizeRule
from toolkit.errors import ImageSizeError, Problem
from toolkit.samples import IGNORE_INDEX, Batch


class Pad(NamedTuple):
    """Pixels added at each edge."""

    top: int
    bottom: int
    left: int
    right: int


def legal_size(size: tuple[int, int], rule: SizeRule) -> tuple[int, int]:
    """The smallest legal (height, width) that holds `size`."""
    return rule.next_legal(size[0]), rule.next_legal(size[1])


def check_size(size: tuple[int, int], rule: SizeRule) -> None:
    """Raises ImageSizeError, naming the nearest legal sizes, when (height, width) is not legal."""
    wrong = [name for name, n in zip(("height", "width"), size, strict=True) if not rule.allows(n)]
    if not wrong:
        return
    offers = [
        f"{name} " + " or ".join(str(n) for n in (rule.previous_legal(length), rule.next_legal(length)) if n)
        for name, length in zip(("height", "width"), size, strict=True)
        if name in wrong
    ]
    wanted = f"{rule.multiple} * k + {rule.remainder % rule.multiple}" if rule.multiple > 1 else "any number"
    raise ImageSizeError(
        Problem(
            "",
            f"the model takes heights and widths of {wanted} pixels, at least {rule.minimum}; "
            f"the images are {size[0]}x{size[1]} (height x width)",
            f"crop or resize to {', '.join(offers)}, or set `illegal_sizes: pad`",
        )
    )


def mirror_positions(length: int, before: int, after: int, device: torch.device | None = None) -> Tensor:
    """Which of 0..length-1 stands at each of `before + length + after` places: mirrored without repeating the edge.

    Where the picture is smaller than the pad, the mirrors are mirrored again (numpy's `reflect`); one pixel is
    repeated. (before + length + after,) int64.

    >>> mirror_positions(3, 2, 4).tolist()
    [2, 1, 0, 1, 2, 1, 0, 1, 2]
    """
    places = torch.arange(-before, length + after, device=device)
    if length == 1:
        return torch.zeros_like(places)
    folded = places.remainder(2 * (length - 1))
    return torch.where(folded < length, folded, 2 * (length - 1) - folded)


def mirror(images: Tensor, pad: Pad) -> Tensor:
    """(..., H, W) of any dtype -> (..., H + top + bottom, W + left + right), mirrored without repeating the edge."""
    height, width = images.shape[-2:]
    if pad.top or pad.bottom:
        images = images.index_select(-2, mirror_positions(height, pad.top, pad.bottom, images.device))
    if pad.left or pad.right:
        images = images.index_select(-1, mirror_positions(width, pad.left, pad.right, images.device))
    return images


def mirror_each(images: Tensor, sizes: list[tuple[int, int]], before: int, size: tuple[int, int]) -> Tensor:
    """Mirrors every image of a batch from its own content, so that none depends on how large the others are.

    images: (N, C, H, W); image i is images[i, :, :h, :w] for sizes[i] = (h, w), the rest is not looked at.
    before: pixels added at the top and left. size: (height, width) of the result, (N, C, height, width).
    """

    def one(block: Tensor) -> Tensor:
        height, width = block.shape[-2:]
        return mirror(block, Pad(before, size[0] - height - before, before, size[1] - width - before))

    if len(set(sizes)) == 1:
        height, width = sizes[0]
        return one(images[..., :height, :width])
    return torch.stack([one(image[:, :h, :w]) for image, (h, w) in zip(images, sizes, strict=True)])


def pad_targets(batch: Batch, size: tuple[int, int]) -> Batch:
    """The batch with its dense annotations, not its images, enlarged at the bottom and right to (height, width).

    Label maps get `IGNORE_INDEX` there, weight maps 0, value maps NaN. `sizes` stay: they say what is image.
    """

    def padded(maps: Tensor | None, fill: float) -> Tensor | None:
        if maps is None or tuple(maps.shape[-2:]) == size:
            return maps
        return F.pad(maps, (0, size[1] - maps.shape[-1], 0, size[0] - maps.shape[-2]), value=fill)

    return batch._replace(
        label_maps=padded(batch.label_maps, IGNORE_INDEX),
        value_maps=padded(batch.value_maps, float("nan")),
        weight_maps=padded(batch.weight_maps, 0.0),
    )
