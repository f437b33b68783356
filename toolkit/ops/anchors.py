"""Anchors: the fixed boxes a region proposal network starts from. Plain functions of strides, scales and ratios.

Sources round differently, and trained weights remember it; `AnchorStyle` names them:

* "stride": corners are rounded to whole pixels and centred on the cell's corner, as torchvision's are, and the step from
  one anchor to the next is the true stride of the map, at every image size. The default.
* "caffe": py-faster-rcnn's `lib/rpn/generate_anchors.py`. Corners are inclusive pixels (a 16-pixel box is 0..15),
  widths are rounded once at the stride and then multiplied, and the centre is that of the first cell, (stride-1)/2.
* "torchvision": `torchvision.models.detection.anchor_utils`. The same corners; the step is image size // map size, of
  the image padded to a multiple of 32 (`GeneralizedRCNNTransform`), so it is the stride but for stride 64: 61 at 800
  rows. For torchvision's weights.
* "torchvision_unpadded": that quotient without the padding: anchors end before an image does whose sides are no
  multiples of the strides. Only for weights that were trained so.
* "detectron2": `detectron2.modeling.anchor_generator`. The same without rounding and with the true stride; several
  scales at one place are ordered scale by scale instead of ratio by ratio.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from toolkit.contracts import AnchorStyle, AnchorUnit
from toolkit.ops.padding import next_multiple

TORCHVISION_MULTIPLE = 32
"""`size_divisible` of torchvision's `GeneralizedRCNNTransform`."""


def base_anchors(stride: int, scales: Sequence[float], ratios: Sequence[float], style: AnchorStyle) -> Tensor:
    """The anchors of the cell at the image's corner, (len(scales) * len(ratios), 4) float32 xyxy pixels.

    In the style "caffe" x2 and y2 are inclusive.

    Args:
        stride: pixels of the image from one cell of the map to the next, 1 or more.
        scales: square roots of the anchors' areas, in strides: 8 on stride 4 is a 32-pixel anchor.
        ratios: height divided by width of the anchors; 1 is a square, 2 stands upright.
        style: whose rounding and order to follow; see the top of the file.

    >>> base_anchors(4, [8], [0.5], "torchvision").tolist()
    [[-23.0, -11.0, 23.0, 11.0]]
    >>> base_anchors(16, [8], [0.5], "caffe").tolist()
    [[-84.0, -40.0, 99.0, 55.0]]
    """
    scale = torch.tensor(list(scales), dtype=torch.float64)
    ratio = torch.tensor(list(ratios), dtype=torch.float64)
    if style == "caffe":
        widths = torch.round(torch.sqrt(stride**2 / ratio))
        heights = torch.round(widths * ratio)
        centre = (stride - 1) / 2
        half_width, half_height = ((side[:, None] * scale - 1).flatten() / 2 for side in (widths, heights))
        corners = (centre - half_width, centre - half_height, centre + half_width, centre + half_height)
        return torch.stack(corners, 1).float()
    sides = stride * scale
    widths, heights = sides / ratio.sqrt()[:, None], sides * ratio.sqrt()[:, None]
    if style == "detectron2":
        widths, heights = widths.T, heights.T
    anchors = torch.stack((-widths, -heights, widths, heights), -1).reshape(-1, 4) / 2
    return (anchors if style == "detectron2" else anchors.round()).float()


def scales_in_strides(scales: Sequence[float], stride: int, unit: AnchorUnit) -> list[float]:
    """Scales of anchors in strides of a map, as `base_anchors` takes them.

    Args:
        scales: square roots of the anchors' areas, counted in `unit`.
        stride: pixels of the image from one cell of the map to the next.
        unit: what the scales are counted in: strides already, or pixels.

    >>> scales_in_strides([32, 64], 16, "pixels")
    [2.0, 4.0]
    """
    return [scale / stride if unit == "pixels" else float(scale) for scale in scales]


def grid_step(
    image_size: tuple[int, int], map_size: tuple[int, int], stride: int, style: AnchorStyle
) -> tuple[int, int]:
    """Pixels from one anchor to the next, (down, right): the stride, or a quotient of the sizes of image and map.

    Args:
        image_size: (height, width) of the image in pixels.
        map_size: (height, width) of the map in cells.
        stride: true stride of the map in pixels.
        style: the two of torchvision divide the sizes; the others answer with the stride.

    >>> grid_step((800, 1088), (13, 17), 64, "torchvision")
    (61, 64)
    >>> grid_step((800, 1066), (200, 267), 4, "stride")
    (4, 4)
    >>> grid_step((800, 1088), (13, 17), 64, "detectron2")
    (64, 64)
    """
    if style not in ("torchvision", "torchvision_unpadded"):
        return stride, stride
    multiple = TORCHVISION_MULTIPLE if style == "torchvision" else 1
    return next_multiple(image_size[0], multiple) // map_size[0], next_multiple(image_size[1], multiple) // map_size[1]


def grid_anchors(base: Tensor, map_size: tuple[int, int], step: tuple[int, int]) -> Tensor:
    """Anchors of a whole map, (H * W * A, 4): row by row, in a row cell by cell, in a cell in the order of `base`.

    Args:
        base: (A, 4) float xyxy pixels, the anchors of the first cell (`base_anchors`).
        map_size: (H, W) of the map in cells.
        step: pixels from a cell to the next, (down, right) (`grid_step`).

    >>> grid_anchors(torch.tensor([[-2.0, -2, 2, 2]]), (1, 3), (8, 8))[:, 0].tolist()
    [-2.0, 6.0, 14.0]
    """
    height, width = map_size
    down = torch.arange(height, device=base.device, dtype=base.dtype)[:, None] * step[0]
    right = torch.arange(width, device=base.device, dtype=base.dtype)[None, :] * step[1]
    down, right = down.expand(height, width), right.expand(height, width)
    shifts = torch.stack((right, down, right, down), -1)
    return (shifts[:, :, None] + base).reshape(-1, 4)


def inside_image(anchors: Tensor, size: tuple[int, int], plus_one: bool = False) -> Tensor:
    """Which anchors lie wholly inside an image: (N,) bool.

    Args:
        anchors: (N, 4) xyxy boxes in pixels of the image.
        size: (height, width) of the image in pixels.
        plus_one: whether x2 and y2 are inclusive, so that the last legal value is a side less 1.

    >>> inside_image(torch.tensor([[0.0, 0, 10, 8], [-1, 0, 5, 5], [0, 0, 11, 8]]), (8, 10)).tolist()
    [True, False, False]
    """
    height, width = (side - 1 if plus_one else side for side in size)
    return (anchors[:, 0] >= 0) & (anchors[:, 1] >= 0) & (anchors[:, 2] <= width) & (anchors[:, 3] <= height)
