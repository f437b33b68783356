"""Polygons along the edges of pixels give the mask again, with holes, and as one ring with cuts of no width."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as codec
from scipy import ndimage

from toolkit.data.formats.outlines import Outline, object_mask
from toolkit.data.writers.pixel_outlines import joined_ring, pixel_outlines


def masks(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random(rng.integers(1, 14, 2)) < rng.random() for _ in range(count)]


def test_filled_again_they_are_the_mask() -> None:
    for mask in masks(120):
        drawn, cut, coco = (np.zeros_like(mask) for _ in range(3))
        for ring, holes in pixel_outlines(mask):
            drawn |= object_mask(Outline("a", (ring,), tuple(holes)), mask.shape)
            whole = joined_ring(ring, holes)
            cut |= object_mask(Outline("a", (whole,)), mask.shape)
            coco |= codec.decode(codec.merge(codec.frPyObjects([whole.ravel().tolist()], *mask.shape))).astype(bool)
        for found in (drawn, cut, coco):
            np.testing.assert_array_equal(found, mask)


def test_there_is_a_ring_for_each_region_that_touches_at_sides() -> None:
    for mask in masks(60):
        assert len(pixel_outlines(mask)) == ndimage.label(mask)[1]
