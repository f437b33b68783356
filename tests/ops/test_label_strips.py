from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from toolkit.ops.label_strips import labels_of_strips
from toolkit.ops.resize import upsample


@pytest.mark.parametrize("grid", ["half_pixel", "corner"])
@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("original", [None, (61, 40), (16, 24), (30, 97)])
@pytest.mark.parametrize("cuts", [(), (1,), (1, 2, 3, 5), (4,)])
def test_where_strips_are_cut_changes_nothing(grid, stride, original, cuts):
    maps = torch.randn(5, 8, 11) * 3
    size = (8 * stride - stride // 2, 11 * stride - stride // 2)
    original = original or size
    strips = maps.tensor_split(cuts, 1)
    labels, scores = labels_of_strips(strips, (8, 11), stride, size, original, grid, with_scores=True)
    full = F.interpolate(upsample(maps[None], stride, size, grid), original, mode="bilinear")[0]
    assert labels.dtype == torch.uint8
    torch.testing.assert_close(scores, full.softmax(0).amax(0), rtol=1e-4, atol=1e-5)
    assert (labels == full.argmax(0)).float().mean() > 0.999  # rounding may turn a tie
    whole = labels_of_strips([maps], (8, 11), stride, size, original, grid)
    assert whole[1] is None
    assert torch.equal(whole[0], labels)


def test_values_may_be_probabilities():
    maps = torch.rand(3, 6, 7).softmax(0)
    labels, scores = labels_of_strips(
        maps.split(2, 1), (6, 7), 1, (6, 7), (6, 7), "corner", logits=False, with_scores=True
    )
    assert torch.equal(labels, maps.argmax(0).to(torch.uint8))
    assert torch.equal(scores, maps.amax(0))


def test_missing_rows_are_noticed():
    with pytest.raises(ValueError, match="map of 6 rows have 4 together"):
        labels_of_strips([torch.zeros(2, 4, 7)], (6, 7), 1, (6, 7), (6, 7), "corner")
    with pytest.raises(ValueError, match="have 0 together"):
        labels_of_strips([], (6, 7), 1, (6, 7), (6, 7), "corner")
