"""Outlines as masks, label maps and boxes, against what other libraries make of the same corners."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from toolkit.data.formats.outlines import (
    Outline,
    ellipse,
    label_map,
    mask_to_runs,
    object_mask,
    outline_box,
    rectangle,
    ring,
    run_lengths,
)
from toolkit.labels import IGNORE_INDEX

SIZE = (180, 260)


def star(rng, size=SIZE, reach=(30, 80), outside=0):
    """Corners of a simple polygon around a random center, some of them fractions of pixels."""
    number = int(rng.integers(3, 14))
    angles = np.sort(rng.uniform(0, 2 * np.pi, number))
    radius = rng.uniform(*reach, number)
    center = rng.uniform([-outside, -outside], [size[1] + outside, size[0] + outside])
    return center + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)


def coco_filled(rings, size):
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([r.ravel().tolist() for r in rings], *size))) > 0


def finely_filled(ring_, size, times=8):
    """PIL's fill of the polygon on a grid `times` finer, then by majority: what the polygon covers, within a hair."""
    image = Image.new("L", (size[1] * times, size[0] * times))
    ImageDraw.Draw(image).polygon((ring_ * times - 0.5).ravel().tolist(), fill=1)
    return np.asarray(image).reshape(size[0], times, size[1], times).mean((1, 3)) >= 0.5


def iou(one, other):
    return (one & other).sum() / max(1, (one | other).sum())


@pytest.mark.parametrize("seed", range(40))
def test_polygons_are_filled_as_coco_fills_them(seed):
    rng = np.random.default_rng(seed)
    rings = tuple(star(rng, outside=40).round(1) for _ in range(3))  # tenths lie between the fifths it rounds to
    np.testing.assert_array_equal(object_mask(Outline("a", rings), SIZE), coco_filled(rings, SIZE))


@pytest.mark.parametrize("seed", range(6))
def test_polygons_cover_what_they_cover_by_area(seed):
    corners = star(np.random.default_rng(100 + seed), reach=(50, 70))
    assert iou(object_mask(Outline("a", (corners,)), SIZE), finely_filled(corners, SIZE)) >= 0.985


def test_the_triangle_of_600_pixels_has_600():
    assert object_mask(Outline("a", (ring([20, 20, 60, 20, 40, 50]),)), (64, 96)).sum() == 600


def test_holes_are_cut_out_exactly():
    outline = Outline("a", (rectangle(2, 3, 42, 33),), (rectangle(10, 10, 20, 18), rectangle(25, 5, 30, 30)))
    wanted = np.zeros((40, 50), bool)
    wanted[3:33, 2:42] = True
    wanted[10:18, 10:20] = wanted[5:30, 25:30] = False
    np.testing.assert_array_equal(object_mask(outline, (40, 50)), wanted)


def test_a_hole_of_run_lengths_is_kept():
    mask = np.ones((9, 7), bool)
    mask[2:5, 3:6] = False
    np.testing.assert_array_equal(object_mask(Outline("a", mask=mask_to_runs(mask)), (9, 7)), mask)


def test_an_ellipse_is_as_large_as_its_formula_says():
    turned = object_mask(Outline("a", (ellipse(90.3, 70.1, 40, 25, 0.7),)), SIZE)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    right, below = x - 90.3, y - 70.1
    along, across = right * np.cos(0.7) + below * np.sin(0.7), below * np.cos(0.7) - right * np.sin(0.7)
    assert iou(turned, (along / 40) ** 2 + (across / 25) ** 2 <= 1) > 0.98


@pytest.mark.parametrize("seed", range(20))
def test_run_lengths_are_pycocotools_own_compressed_or_not(seed):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 60, 2).tolist())
    mask = np.kron(rng.random((9, 9)) < 0.4, np.ones((8, 8), bool))[: size[0], : size[1]]
    packed = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    flat = mask.ravel("F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *ends.tolist(), flat.size]).tolist()
    plain = [0, *runs] if flat[0] else runs
    for counts in (packed["counts"], packed["counts"].decode(), plain):
        found = run_lengths({"size": list(size), "counts": counts})
        np.testing.assert_array_equal(object_mask(Outline("a", mask=found), size), mask)
        if mask.any():
            x, y, w, h = coco_mask.toBbox(packed).tolist()
            assert outline_box(Outline("a", mask=found)) == (x, y, x + w, y + h)


@pytest.mark.parametrize(
    "encoded",
    [
        {"size": [3, 4], "counts": [5, 5]},
        {"size": [3, 4], "counts": [20, -8]},
        {"size": [3, 4], "counts": "zzzz"},
        {"size": [3, 4], "counts": b"\xff"},
        {"size": [3, 4]},
        {"size": "ab", "counts": [12]},
        {"size": [3, 4], "counts": None},
        [1, 2],
    ],
)
def test_broken_run_lengths_are_none(encoded):
    """pycocotools itself writes beyond its memory, or returns noise."""
    assert run_lengths(encoded) is None


def test_later_objects_lie_over_earlier_and_small_over_large_where_asked():
    objects = [Outline("small", (rectangle(4, 4, 8, 8),)), Outline("large", (rectangle(0, 0, 10, 10),))]
    assert set(np.unique(label_map(objects, [1, 2], (10, 10)))) == {2}
    drawn = label_map(objects, [1, 2], (10, 10), overlaps="larger_first")
    assert (drawn[4:8, 4:8] == 1).all()
    assert (drawn == 2).sum() == 100 - 16
    assert (label_map(objects[::-1], [2, 1], (10, 10)) == drawn).all()


def test_the_background_and_what_does_not_count():
    objects = [Outline("a", box=(1, 1, 3, 2))]
    drawn = label_map(objects, [IGNORE_INDEX], (3, 4), background=5)
    assert drawn.tolist() == [[5, 5, 5, 5], [5, 255, 255, 5], [5, 5, 5, 5]]


def test_objects_outside_of_the_image_are_cut_off():
    outline = Outline("a", (rectangle(-5, -5, 2, 3),))
    assert object_mask(outline, (4, 4)).sum() == 6
    assert not object_mask(Outline("a", (rectangle(40, 40, 50, 50),)), (4, 4)).any()
    assert outline_box(outline) == (-5, -5, 2, 3)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\) on an image of \(3, 3\)"):
        object_mask(Outline("a", mask=mask_to_runs(np.ones((2, 2), bool))), (3, 3))
