from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from toolkit.heads.rpn import AnchorSettings
from toolkit.ops.anchors import base_anchors, grid_anchors, grid_step, inside_image

RATIOS = (0.5, 1.0, 2.0)
PUBLISHED_2015 = [  # what lib/rpn/generate_anchors.py returns (its comment lists MATLAB's, one larger)
    [-84, -40, 99, 55],
    [-176, -88, 191, 103],
    [-360, -184, 375, 199],
    [-56, -56, 71, 71],
    [-120, -120, 135, 135],
    [-248, -248, 263, 263],
    [-36, -80, 51, 95],
    [-80, -168, 95, 183],
    [-168, -344, 183, 359],
]


def test_2015_anchors_to_the_pixel() -> None:
    assert base_anchors(16, (8, 16, 32), RATIOS, "caffe").tolist() == PUBLISHED_2015


@pytest.mark.parametrize(
    ("size", "cells", "total", "inside"),
    [((600, 1000), (38, 63), 21_546, 8_151), ((600, 800), (38, 50), 17_100, 5_944)],
)
def test_2015_counts(size: tuple[int, int], cells: tuple[int, int], total: int, inside: int) -> None:
    base = base_anchors(16, (8, 16, 32), RATIOS, "caffe")
    anchors = grid_anchors(base, cells, grid_step(size, cells, 16, "caffe"))
    assert len(anchors) == total
    assert int(inside_image(anchors, size, plus_one=True).sum()) == inside


def test_2015_order_is_row_by_row_then_cell_then_anchor() -> None:
    anchors = grid_anchors(base_anchors(16, (8, 16, 32), RATIOS, "caffe"), (2, 3), (16, 16)).view(2, 3, 9, 4)
    for y in range(2):
        for x in range(3):
            shift = torch.tensor([16 * x, 16 * y, 16 * x, 16 * y])
            assert (anchors[y, x] - shift).tolist() == PUBLISHED_2015


def test_torchvision_anchors_written_out() -> None:
    assert base_anchors(4, (8,), RATIOS, "torchvision").tolist() == [
        [-23, -11, 23, 11],
        [-16, -16, 16, 16],
        [-11, -23, 11, 23],
    ]


def test_detectron2_anchors_are_not_rounded_and_ordered_by_scale() -> None:
    half, root = 16 / 2**0.5, 16 * 2**0.5
    expected = [[-root, -half, root, half], [-16, -16, 16, 16], [-half, -root, half, root]]
    found = base_anchors(4, (8, 16), RATIOS, "detectron2")
    torch.testing.assert_close(found[:3], torch.tensor(expected))
    torch.testing.assert_close(found[3:], 2 * torch.tensor(expected))
    assert found[0, 0].item() == pytest.approx(-22.627417)


@pytest.mark.parametrize("image", [(128, 192), (160, 96), (800, 1088)])
def test_whole_grids_are_torchvisions(image: tuple[int, int]) -> None:
    strides = (4, 8, 16, 32, 64)
    sizes = [(-(-image[0] // s), -(-image[1] // s)) for s in strides]
    generator = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), (RATIOS,) * 5)
    expected = generator(ImageList(torch.zeros(1, 3, *image), [image]), [torch.zeros(1, 1, *size) for size in sizes])[0]
    grids = []
    for size, stride in zip(sizes, strides, strict=True):
        base = base_anchors(stride, (8,), RATIOS, "torchvision")
        grids.append(grid_anchors(base, size, grid_step(image, size, stride, "torchvision")))
    assert torch.equal(torch.cat(grids), expected)


@pytest.mark.parametrize("image", [(800, 1066), (600, 901), (107, 150)])
def test_whole_grids_are_torchvisions_at_odd_sizes(image: tuple[int, int]) -> None:
    """torchvision divides what its batches are, padded to multiples of 32; ours are asked with the image's own size."""
    strides = (4, 8, 16, 32, 64)
    padded = [-(-side // 32) * 32 for side in image]
    sizes = [(-(-padded[0] // s), -(-padded[1] // s)) for s in strides]
    generator = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), (RATIOS,) * 5)
    images = ImageList(torch.zeros(1, 3, *padded), [image])
    expected = generator(images, [torch.zeros(1, 1, *size) for size in sizes])[0]
    grids = [
        grid_anchors(base_anchors(s, (8,), RATIOS, "torchvision"), size, grid_step(image, size, s, "torchvision"))
        for size, s in zip(sizes, strides, strict=True)
    ]
    assert torch.equal(torch.cat(grids), expected)


@pytest.mark.parametrize("image", [(800, 1066), (600, 901), (107, 150)])
def test_the_default_step_is_the_stride_at_every_size(image: tuple[int, int]) -> None:
    for stride in (4, 8, 16, 32, 64):
        cells = (-(-image[0] // stride), -(-image[1] // stride))
        assert grid_step(image, cells, stride, "stride") == (stride, stride)
    assert AnchorSettings().style == "stride"


def test_fpn_count_at_800_by_1344() -> None:
    cells = [(200, 336), (100, 168), (50, 84), (25, 42), (13, 21)]
    base = base_anchors(4, (8,), RATIOS, "torchvision")
    assert sum(len(grid_anchors(base, size, (4, 4))) for size in cells) == 268_569


def test_inside_counts_the_last_pixel() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 8], [0, 0, 9, 7], [-1, 0, 5, 5], [0, 0, 10, 7]])
    assert inside_image(boxes, (8, 10)).tolist() == [True, True, False, True]
    assert inside_image(boxes, (8, 10), plus_one=True).tolist() == [False, True, False, False]
