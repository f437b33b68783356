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
    """Pixels added at each edge of an image.

    Args:
        top: rows above the first row, 0 or more.
        bottom: rows below the last row, 0 or more.
        left: columns left of the first column, 0 or more.
        right: columns right of the last column, 0 or more.
    """

    top: int
    bottom: int
    left: int
    right: int


def legal_size(size: tuple[int, int], rule: SizeRule) -> tuple[int, int]:
    """The smallest legal (height, width) that holds `size`, both in pixels.

    >>> legal_size((100, 65), SizeRule(minimum=32, multiple=32))
    (128, 96)
    """
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

    Args:
        length: number of pixels of the line, 1 or more.
        before: number of mirrored pixels in front of the first.
        after: number of mirrored pixels behind the last.
        device: where the answer is made; None means PyTorch's default device.

    >>> mirror_positions(3, 2, 4).tolist()
    [2, 1, 0, 1, 2, 1, 0, 1, 2]
    """
    places = torch.arange(-before, length + after, device=device)
    if length == 1:
        return torch.zeros_like(places)
    folded = places.remainder(torch.full((), 2 * (length - 1), device=device))  # a tensor: exporters know no other
    return torch.where(folded < length, folded, 2 * (length - 1) - folded)


def mirror(images: Tensor, pad: Pad) -> Tensor:
    """(..., H, W) of any dtype -> (..., H + top + bottom, W + left + right), mirrored without repeating the edge.

    >>> mirror(torch.tensor([[1, 2, 3]]), Pad(0, 0, 2, 1)).tolist()
    [[3, 2, 1, 2, 3, 2]]
    """
    height, width = images.shape[-2:]
    if pad.top or pad.bottom:
        images = images.index_select(-2, mirror_positions(height, pad.top, pad.bottom, images.device))
    if pad.left or pad.right:
        images = images.index_select(-1, mirror_positions(width, pad.left, pad.right, images.device))
    return images


def mirror_each(
    images: Tensor, sizes: list[tuple[int, int]], before: int, own: list[tuple[int, int]], size: tuple[int, int]
) -> Tensor:
    """Mirrors every image of a batch from its own content, so that none depends on how large the others are.

    Args:
        images: (N, C, H, W) of any dtype; what lies beyond an image's own size is not looked at.
        sizes: (height, width) of each image, which fills the upper left corner.
        before: number of mirrored pixels at the top and left.
        own: (height, width) up to which each image is mirrored, `before` included.
        size: (height, width) of the result, (N, C, height, width); 0 beyond an image's own.

    >>> images = torch.tensor([[[[1, 2, 3]]], [[[4, 5, 0]]]])  # the second is two pixels wide
    >>> mirror_each(images, [(1, 3), (1, 2)], before=0, own=[(1, 4), (1, 3)], size=(1, 4)).flatten(1).tolist()
    [[1, 2, 3, 2], [4, 5, 4, 0]]
    """

    def one(block: Tensor, target: tuple[int, int]) -> Tensor:
        height, width = block.shape[-2:]
        whole = mirror(block, Pad(before, target[0] - height - before, before, target[1] - width - before))
        return F.pad(whole, (0, size[1] - target[1], 0, size[0] - target[0]))

    if len(set(sizes)) == 1 and len(set(own)) == 1:
        height, width = sizes[0]
        return one(images[..., :height, :width], own[0])
    return torch.stack([one(image[:, :h, :w], to) for image, (h, w), to in zip(images, sizes, own, strict=True)])


def inside(images: Tensor, sizes: Tensor) -> Tensor:
    """The images with 0 wherever a batch has padding, whatever stood there.

    Args:
        images: (N, C, H, W) float.
        sizes: (N, 2) int64, height and width of the part of each that is image, from the upper left corner.

    >>> inside(torch.ones(2, 1, 1, 3), torch.tensor([[1, 3], [1, 2]])).flatten(1).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]
    """
    height, width = images.shape[-2], images.shape[-1]
    down = torch.arange(height, device=images.device) < sizes[:, :1].to(images.device)
    right = torch.arange(width, device=images.device) < sizes[:, 1:].to(images.device)
    image = down[:, None, :, None] & right[:, None, None, :]
    # Elsewhere looking would make every step wait for the device.
    if image.device.type == "cpu" and not torch.compiler.is_compiling() and bool(image.all()):
        return images
    return torch.where(image, images, 0)


def ceil_div(n: int, by: int) -> int:
    """n / by rounded up, for n of 0 or more. No division of a negative number, which ONNX rounds towards 0.

    >>> ceil_div(37, 2), ceil_div(36, 2)
    (19, 18)
    """
    return (n + by - 1) // by


def next_multiple(n: int, multiple: int) -> int:
    """The smallest multiple that is not smaller than n.

    >>> next_multiple(800, 32), next_multiple(1066, 32)
    (800, 1088)
    """
    return ceil_div(n, multiple) * multiple


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
