from __future__ import annotations

import pytest

from toolkit.errors import ConfigError
from toolkit.inference.tiling.plan import Tile, TileGeometry, plan_tiles

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
            assert tile.skip == tile.first - tile.start // geometry.stride
            # What padding at an inner edge of the tile could reach is not used.
            assert tile.start == 0 or tile.skip >= geometry.halo
            known = tile.start + 2 * geometry.border + geometry.stride * (tile.last - tile.start // geometry.stride)
            assert tile.stop == length or known + geometry.halo * geometry.stride <= tile.stop


def test_the_papers_tile_steps_by_384_never_by_its_own_output():
    assert 572 - 2 * 92 == 388
    assert UNET.step(572) == 384
    tiles = plan_tiles(572 + 2 * 384, 388 + 2 * 384, 572, UNET)
    assert tiles == [Tile(0, 572, 0, 386, 0), Tile(384, 956, 386, 770, 2), Tile(768, 1340, 770, 1156, 2)]


def test_sides_are_rounded_down_to_what_fits_and_too_small_ones_are_refused():
    assert (UNET.smallest, UNET.largest(600), UNET.largest(572), UNET.largest(571)) == (204, 588, 572, 556)
    assert PADDED.largest(300) == 288
    with pytest.raises(ConfigError, match="needs 204 at least, of which 92 at each edge"):
        UNET.largest(203)
    assert PADDED.smallest == 128
    assert PADDED.largest(128) == 128
    with pytest.raises(ConfigError, match="needs 128 at least"):
        PADDED.largest(127)
