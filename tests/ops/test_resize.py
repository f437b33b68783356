"""Against torch's own interpolation, a hand-worked case, and the law that a part equals the part of the whole."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from toolkit.ops.resize import pixel_positions, resize, resize_positions, sample_rows, upsample


def test_corner_grid_is_align_corners_and_repeats_the_last_value():
    maps = torch.randn(2, 3, 5, 4)
    found = upsample(maps, 8, (40, 32), "corner")
    whole = F.interpolate(maps, size=(33, 25), mode="bilinear", align_corners=True)
    torch.testing.assert_close(found[..., :33, :25], whole)
    torch.testing.assert_close(found[..., ::8, ::8], maps)
    torch.testing.assert_close(found[..., 33:, :25], whole[..., -1:, :].expand(-1, -1, 7, -1))


def test_half_pixel_grid_keeps_the_factor_and_crops():
    maps = torch.randn(1, 2, 13, 7)
    found = upsample(maps, 8, (97, 50))
    whole = F.interpolate(maps, scale_factor=8, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, whole[..., :97, :50])


def test_a_map_that_is_too_small_repeats_its_last_value():
    maps = torch.arange(4.0).reshape(1, 1, 2, 2)
    assert upsample(maps, 2, (5, 5))[0, 0, 4].tolist() == [2.0, 2.25, 2.75, 3.0, 3.0]
    assert upsample(maps, 1, (2, 3))[0, 0].tolist() == [[0, 1, 1], [2, 3, 3]]


def test_a_ramp_by_hand():
    maps = torch.tensor([0.0, 4.0]).reshape(1, 1, 1, 2)
    assert upsample(maps, 4, (1, 8))[0, 0, 0].tolist() == [0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4]
    assert upsample(maps, 4, (1, 8), "corner")[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 4, 4, 4]


@pytest.mark.parametrize("grid", ["half_pixel", "corner"])
@pytest.mark.parametrize("stride", [1, 2, 8])
def test_sampled_rows_equal_the_upsampled_map(grid, stride):
    maps = torch.randn(3, 6, 7)
    size = (6 * stride + 3, 7 * stride - 1)
    rows, columns = (pixel_positions(n, stride, pixels, grid) for n, pixels in zip((6, 7), size, strict=True))
    whole = upsample(maps[None], stride, size, grid)[0]
    last = maps.permute(1, 2, 0)
    torch.testing.assert_close(sample_rows(last, rows, columns).permute(2, 0, 1), whole)
    torch.testing.assert_close(sample_rows(last, rows[2:5], columns[1:]).permute(2, 0, 1), whole[:, 2:5, 1:])


@pytest.mark.parametrize("size", [(11, 9), (23, 31), (7, 20), (11, 4)])
def test_resize_positions_equal_resize(size):
    maps = torch.randn(2, 11, 9)
    rows, columns = resize_positions(11, size[0]), resize_positions(9, size[1])
    found = sample_rows(maps.permute(1, 2, 0), rows, columns).permute(2, 0, 1)
    torch.testing.assert_close(found, resize(maps[None], size)[0])
