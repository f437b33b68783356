from __future__ import annotations

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign, roi_align

from toolkit.ops.roi_pooling import MapRows, PoolKind, align_rows, pool_boxes, pyramid_levels

RAMP = torch.arange(64.0).view(1, 1, 8, 8)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("max", [[18, 19], [26, 27]]),
        ("align", [[11.109, 12.578], [22.859, 24.328]]),
        ("align_half_pixel", [[6.609, 8.078], [18.359, 19.828]]),
    ],
)
def test_ramp(kind: PoolKind, expected: list[list[float]]) -> None:
    box, image = torch.tensor([[8.0, 8, 55, 55]]), torch.tensor([0])
    found = pool_boxes([RAMP], [16], box, image, kind, size=2, sampling=2)
    torch.testing.assert_close(found[0, 0], torch.tensor(expected, dtype=torch.float32), atol=1e-3, rtol=0)


def boxes_of_all_kinds() -> tuple[torch.Tensor, torch.Tensor]:
    """Large, tiny, empty, turned over, at the borders and far outside, in three images."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(60, 2, generator=generator) * 150 - 20
    ordinary = torch.cat((corner, corner + torch.rand(60, 2, generator=generator) ** 3 * 300), 1)
    odd = torch.tensor(
        [
            [0.0, 0, 0, 0],
            [50, 50, 50, 50],
            [60, 60, 40, 30],
            [-90, -90, -50, -50],
            [0, 0, 128, 96],
            [900, 900, 950, 950],
        ]
    )
    boxes = torch.cat((ordinary, odd))
    return boxes, torch.arange(len(boxes)) % 3


@pytest.mark.parametrize("half_pixel", [False, True])
@pytest.mark.parametrize("sampling", [1, 2, 3])
def test_rows_are_torchvisions_roi_align_forwards_and_backwards(half_pixel: bool, sampling: int) -> None:
    one = torch.randn(3, 5, 12, 16, requires_grad=True)
    boxes, images = boxes_of_all_kinds()
    rois = torch.cat((images[:, None].float(), boxes), 1)
    expected = roi_align(one, rois, 7, 1 / 8, sampling, aligned=half_pixel)
    found = align_rows(MapRows.of([one]), [8], boxes, images, half_pixel, 7, sampling)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)
    weights = torch.randn_like(expected)
    theirs = torch.autograd.grad((expected * weights).sum(), one)[0]
    ours = torch.autograd.grad((found * weights).sum(), one)[0]
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_all_levels_at_once_are_torchvisions_multi_scale() -> None:
    strides = (4, 8, 16, 32)
    maps = [torch.randn(3, 6, 96 // s, 128 // s) for s in strides]
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(80, 2, generator=generator) * torch.tensor([100.0, 70])
    boxes = torch.cat((corner, corner + 1 + torch.rand(80, 2, generator=generator) ** 2 * 600), 1)
    images = torch.arange(80) // 27
    pooler = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    per_image = [boxes[images == n] for n in range(3)]
    expected = pooler({str(n): m for n, m in enumerate(maps)}, per_image, [(96, 128)] * 3)
    assert len(set(pyramid_levels(boxes, strides).tolist())) == 4
    torch.testing.assert_close(pool_boxes(maps, strides, boxes, images), expected, atol=2e-5, rtol=1e-5)
    # A table may hold coarser maps that no box is cut from, and the adaptive path goes map by map.
    table = MapRows.of([*maps, torch.randn(3, 6, 2, 2)])
    torch.testing.assert_close(align_rows(table, strides, boxes, images), expected, atol=2e-5, rtol=1e-5)
    levels = pyramid_levels(boxes, strides)
    adaptive = pool_boxes(maps, strides, boxes, images, sampling=0)
    for index in (0, 40, 79):
        one = maps[int(levels[index])]
        roi = torch.cat((images[index : index + 1, None].float(), boxes[index : index + 1]), 1)
        torch.testing.assert_close(adaptive[index], roi_align(one, roi, 7, 1 / strides[int(levels[index])])[0])


def test_level_by_size() -> None:
    sides = torch.tensor([1.0, 111.9, 112, 223.9, 224, 447, 448, 5000])
    boxes = torch.stack((torch.zeros(8), torch.zeros(8), sides, sides), 1)
    assert pyramid_levels(boxes, (4, 8, 16, 32)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert pyramid_levels(boxes, (16, 32)).tolist() == [0, 0, 0, 0, 0, 0, 1, 1]


def test_max_pooling_by_hand() -> None:
    # Corners 8 and 55 at stride 16 are 0.5 -> 1 and 3.4 -> 3: cells 1..3, in bins 1..2 and 2..3.
    found = pool_boxes([RAMP], [16], torch.tensor([[8.0, 8, 55, 55]]), torch.tensor([0]), "max", size=2)
    assert found[0, 0].tolist() == [
        [RAMP[0, 0, 1:3, 1:3].max(), RAMP[0, 0, 1:3, 2:4].max()],
        [RAMP[0, 0, 2:4, 1:3].max(), 27],
    ]


@pytest.mark.parametrize("kind", ["align", "align_half_pixel", "max"])
def test_no_boxes(kind: PoolKind) -> None:
    maps = [torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(2, 3, 4, 4, requires_grad=True)]
    nothing = pool_boxes(maps, (4, 8), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), kind)
    assert nothing.shape == (0, 3, 7, 7)
    nothing.sum().backward()
    assert bool((maps[0].grad == 0).all())


def test_half_precision_maps_are_pooled_in_float32() -> None:
    boxes, images = boxes_of_all_kinds()
    one = torch.randn(3, 4, 12, 16).bfloat16()
    assert torch.equal(pool_boxes([one], [8], boxes, images), pool_boxes([one.float()], [8], boxes, images))
