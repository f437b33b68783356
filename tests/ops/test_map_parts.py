from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from toolkit.ops.map_parts import labels_of_part, lines_of, read_part
from toolkit.ops.resize import upsample


def pieces(line, cuts):
    """(results, the cells they need, where they are read in those) of each piece between the cuts."""
    first, last = line.first_and_last()
    for start, stop in pairwise((0, *cuts, line.results)):
        cells = slice(int(first[start]), int(last[stop - 1]) + 1)
        yield slice(start, stop), cells, line.part(start, stop, cells.start)


@pytest.mark.parametrize("grid", ["half_pixel", "corner", "ends"])
@pytest.mark.parametrize("stride", [1, 3, 4])
@pytest.mark.parametrize("original", [None, (61, 40), (16, 24), (30, 97)])
@pytest.mark.parametrize("cuts", [((), ()), ((1, 7), ()), ((), (1, 2, 3, 5)), ((4, 5), (6,))])
def test_how_a_picture_is_cut_changes_nothing(grid, stride, original, cuts):
    maps = torch.randn(5, 8, 11, generator=torch.Generator().manual_seed(0)) * 3
    size = (8 * stride - stride // 2, 11 * stride - stride // 2)
    original = original or size
    rows, columns = lines_of((8, 11), stride, size, original, grid)
    whole, whole_scores = labels_of_part(maps, rows, columns, with_scores=True)
    values = read_part(maps, rows, columns)
    full = F.interpolate(upsample(maps[None], stride, size, grid), original, mode="bilinear")[0]
    assert whole.dtype == torch.uint8
    torch.testing.assert_close(values, full, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole_scores, full.softmax(0).amax(0), rtol=1e-4, atol=1e-5)
    assert (whole == full.argmax(0)).float().mean() > 0.999  # rounding may turn a tie
    assert labels_of_part(maps, rows, columns)[1] is None
    for r, row_cells, own_rows in pieces(rows, cuts[0]):
        for c, column_cells, own_columns in pieces(columns, cuts[1]):
            piece = maps[:, row_cells, column_cells]
            labels, scores = labels_of_part(piece, own_rows, own_columns, with_scores=True)
            assert torch.equal(labels, whole[r, c])
            assert torch.equal(scores, whole_scores[r, c])
            assert torch.equal(read_part(piece, own_rows, own_columns), values[:, r, c])


def test_values_may_be_probabilities():
    maps = torch.rand(3, 6, 7).softmax(0)
    lines = lines_of((6, 7), 1, (6, 7), (6, 7), "corner")
    labels, scores = labels_of_part(maps, *lines, logits=False, with_scores=True)
    assert torch.equal(labels, maps.argmax(0).to(torch.uint8))
    assert torch.equal(scores, maps.amax(0))
