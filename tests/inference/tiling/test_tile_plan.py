from __future__ import annotations

import numpy as np
import pytest

from toolkit.errors import ConfigError
from toolkit.inference.tiling.choice import plan_within
from toolkit.inference.tiling.plan import Results, Tile, TileGeometry, least_side, plan_tiles, tiles_needed

UNET = TileGeometry(align=16, remainder=12, minimum=188, stride=1, border=92, halo=0)
PADDED = TileGeometry(align=32, remainder=0, minimum=1, stride=4, border=0, halo=10)
DILATED = TileGeometry(align=8, remainder=4, minimum=380, stride=8, border=186, halo=33)


@pytest.mark.parametrize(
    ("geometry", "side", "lengths"),
    [(UNET, 572, range(188, 3000, 16)), (UNET, 204, range(188, 800, 16)), (PADDED, 256, range(1, 1500, 7)),
     (PADDED, 128, range(100, 600)), (DILATED, 1108, range(380, 5000, 8))],
)  # fmt: skip
def test_every_cell_comes_once_from_a_tile_that_knows_it(geometry, side, lengths):
    for length in lengths:
        cells = -(-(length - 2 * geometry.border) // geometry.stride)
        tiles = plan_tiles(length, cells, side, geometry)
        assert [tile.first for tile in tiles] == [0, *(tile.last for tile in tiles[:-1])]
        assert tiles[-1].last == cells
        assert tiles[-1].stop == length
        for tile in tiles:
            assert tile.start % geometry.align == 0
            assert tile.stop - tile.start <= side
            assert tile.stop - tile.start >= min(length, geometry.minimum)
            assert tile.first < tile.last
            assert tile.cell == tile.start // geometry.stride
            # What padding at an inner edge of the tile could reach is not used.
            assert tile.start == 0 or tile.first - tile.cell >= geometry.halo
            known = tile.start + 2 * geometry.border + geometry.stride * (tile.last - tile.start // geometry.stride)
            assert tile.stop == length or known + geometry.halo * geometry.stride <= tile.stop


def test_the_papers_tile_steps_by_384_never_by_its_own_output():
    assert 572 - 2 * 92 == 388
    assert UNET.step(572) == 384
    tiles = plan_tiles(572 + 2 * 384, 388 + 2 * 384, 572, UNET)
    assert tiles == [Tile(0, 572, 0, 386, 0), Tile(384, 956, 386, 770, 384), Tile(768, 1340, 770, 1156, 768)]


def test_sides_are_rounded_down_to_what_fits_and_too_small_ones_are_refused():
    assert (UNET.smallest, UNET.largest(600), UNET.largest(572), UNET.largest(571)) == (204, 588, 572, 556)
    assert PADDED.largest(300) == 288
    with pytest.raises(ConfigError, match="needs 204 at least, of which 92 at each edge"):
        UNET.largest(203)
    assert PADDED.smallest == 128
    assert PADDED.largest(128) == 128
    with pytest.raises(ConfigError, match="needs 128 at least"):
        PADDED.largest(127)


@pytest.mark.parametrize(("geometry", "most"), [(UNET, 900), (PADDED, 700), (DILATED, 2200)])
@pytest.mark.parametrize("span", [1, 2, 3])
def test_every_result_comes_once_from_a_tile_that_knows_all_its_cells(geometry, most, span):
    for length in range(most, most + 200, geometry.align):
        length += (geometry.remainder - length) % geometry.align
        cells = -(-(length - 2 * geometry.border) // geometry.stride)
        first = np.sort(np.random.default_rng(length).integers(0, cells - span + 1, 2 * cells))
        results = Results(first, np.minimum(first + span, cells - 1))
        side = geometry.reaching(results.reach).largest(most // 2)
        tiles = plan_tiles(length, cells, side, geometry, results)
        assert [tile.first for tile in tiles] == [0, *(tile.last for tile in tiles[:-1])]
        assert tiles[-1].last == len(first)
        for tile in tiles:
            own = slice(tile.first, tile.last)
            known = (tile.stop - tile.start - 2 * geometry.border) // geometry.stride
            assert tile.start == 0 or (results.first[own] >= tile.cell + geometry.halo).all()
            assert tile.stop == length or (results.last[own] < tile.cell + known - geometry.halo).all()


def test_as_few_tiles_as_asked_for_and_none_larger_than_need_be():
    for number in range(1, 9):
        side = least_side(4000, number, PADDED)
        assert tiles_needed(4000, side, PADDED) <= number
        assert number == 1 or tiles_needed(4000, side - PADDED.align, PADDED) > number


@pytest.mark.parametrize("pixels", [100**2, 300**2, 700**2, 1300**2])
def test_no_other_tiles_that_fit_compute_less(pixels):
    small = TileGeometry(align=16, remainder=0, minimum=1, stride=1, border=0, halo=20)
    size = (800, 1200)
    plan = plan_within(size, size, small, (None, None), lambda tile: tile[0] * tile[1], pixels)
    assert plan.bytes <= pixels

    def computed(height, width):
        lines = [plan_tiles(n, n, side, small) for n, side in zip(size, (height, width), strict=True)]
        down, along = (sum(tile.stop - tile.start for tile in line) for line in lines)
        return down * along

    sides = range(small.smallest, 1201, 16)
    least = min(computed(h, w) for h in [*sides, 800] for w in [*sides, 1200] if min(h, 800) * min(w, 1200) <= pixels)
    assert (1 + plan.again) * 800 * 1200 <= 1.03 * least  # the last tiles may be a little shorter


def test_the_plan_of_a_large_picture_is_found_soon_and_says_what_it_does():
    unet = TileGeometry(align=16, remainder=0, minimum=1, stride=1, border=0, halo=109)
    plan = plan_within((3000, 4000), (3000, 4000), unet, (None, None), lambda tile: 300 * tile[0] * tile[1], 9e8)
    assert str(plan) == "3000x4000 in 2x3 tiles of 1616x1488, 20 % computed twice, about 0.7 GB"
    large = plan_within(
        (200_000, 200_000), (200_000,) * 2, unet, (None, None), lambda tile: 300 * tile[0] * tile[1], 9e8
    )
    assert large.again < 0.35
    assert large.bytes <= 9e8
