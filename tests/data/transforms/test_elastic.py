"""Elastic deformation: the field's laws, and that every annotation follows the picture."""

from random import Random

import numpy as np
import pytest

from toolkit.data.transforms.elastic import Elastic, bicubic_weights
from toolkit.samples import IGNORE_INDEX, Boxes, Sample


def blobs(height=120, width=160, channels=1):
    labels = np.zeros((height, width), np.uint8)
    labels[30:60, 40:80] = 1
    labels[80:110, 100:150] = 2
    image = np.repeat((labels * 100)[..., None], channels, 2)
    boxes = Boxes.of([[40, 30, 80, 60], [100, 80, 150, 110]], [1, 2])
    maps = labels.astype(np.float32)
    return Sample(image, "x", 0, (height, width), labels, boxes, value_map=maps, weight_map=maps + 1)


@pytest.mark.parametrize("points", [2, 3, 4, 7])
@pytest.mark.parametrize("pixels", [1, 2, 5, 101])
def test_interpolation_meets_the_vectors_and_lines_and_parabolas(points, pixels):
    weights = bicubic_weights(pixels, points)
    np.testing.assert_allclose(weights.sum(1), 1)
    place = np.linspace(0, points - 1, pixels) if pixels > 1 else np.array([(points - 1) / 2])
    grid = np.arange(points, dtype=float)
    np.testing.assert_allclose(weights @ grid, place, atol=1e-12)
    if points > 2:
        np.testing.assert_allclose(weights @ grid**2, place**2, atol=1e-12)
    if (pixels - 1) % (points - 1) == 0 and pixels > 1:
        np.testing.assert_allclose(weights[:: (pixels - 1) // (points - 1)], np.eye(points), atol=1e-12)


def test_displacements_are_as_large_as_the_paper_says():
    generator = Random(0)
    corners, middles = [], []
    for _ in range(800):
        x, y = Elastic().source_positions((101, 141), generator)
        corners += [x[0, 0] - 0, y[0, 0] - 0, x[-1, -1] - 140, y[-1, -1] - 100]
        middles += [x[50, 70] - 70, y[50, 70] - 50]
    assert np.std(corners) == pytest.approx(10, rel=0.05)
    assert np.std(middles) == pytest.approx(10, rel=0.06)
    assert abs(np.mean(corners)) < 0.6


def test_the_field_is_smooth():
    x, y = Elastic().source_positions((256, 256), Random(3))
    for component in (x, y):
        assert np.abs(np.diff(component, 2, axis=0)).max() < 0.02
        assert np.abs(np.diff(component, 2, axis=1)).max() < 0.02


def test_a_constant_displacement_is_a_mirrored_shift(monkeypatch):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, 3), np.uint8)
    sample = Sample(
        image, "x", 0, (20, 30), label_map=image[..., 0].copy(), weight_map=image[..., 1].astype(np.float32)
    )
    transform = Elastic()
    y, x = np.mgrid[0:20, 0:30].astype(np.float32)
    monkeypatch.setattr(transform, "source_positions", lambda size, generator: (x + 4, y - 3))
    after = transform(sample, 0)
    expected = np.pad(image, ((3, 0), (0, 4), (0, 0)), mode="reflect")[:20, 4:]
    np.testing.assert_array_equal(after.image, expected)
    np.testing.assert_array_equal(after.label_map, expected[..., 0])
    np.testing.assert_array_equal(after.weight_map, expected[..., 1])
    transform.outside = "ignore"
    after = transform(sample._replace(value_map=sample.weight_map), 0)
    assert (after.label_map[:3] == IGNORE_INDEX).all()
    assert (after.label_map[:, 26:] == IGNORE_INDEX).all()
    np.testing.assert_array_equal(after.label_map[3:, :26], expected[3:, :26, 0])
    np.testing.assert_array_equal(after.image, expected)
    assert (after.weight_map[:3] == 0).all()
    assert np.isnan(after.value_map[:3]).all()


@pytest.mark.parametrize("outside", ["mirror", "ignore"])
@pytest.mark.parametrize("channels", [1, 3])
def test_annotations_follow_the_picture(outside, channels):
    for seed in range(10):
        after = Elastic(outside=outside)(blobs(channels=channels), seed)
        assert after.image.shape == (120, 160, channels)
        counted = after.label_map != IGNORE_INDEX
        error = np.abs(after.image[..., 0].astype(int) - 100 * after.label_map.astype(int))
        assert (error[counted] > 50).mean() < 0.02
        np.testing.assert_array_equal(after.value_map[counted], after.label_map[counted])
        np.testing.assert_array_equal(after.weight_map[counted], after.label_map[counted] + 1)
        for box, area, label in zip(after.boxes.xyxy, after.boxes.area, after.boxes.labels, strict=True):
            y, x = np.nonzero(after.label_map == label)
            np.testing.assert_allclose(box, [x.min(), y.min(), x.max() + 1, y.max() + 1], atol=1)
            assert area == pytest.approx(len(y), rel=0.05)
        assert len(after.boxes.labels) == 2


def test_labels_are_never_mixed():
    sample = blobs()
    sample.label_map[sample.label_map == 1] = 9
    assert set(np.unique(Elastic()(sample, 1).label_map)) <= {0, 2, 9}


def test_a_function_of_the_seed_and_the_input_stays():
    sample = blobs()
    results = [Elastic()(sample, seed).image.tobytes() for seed in (1, 1, 2)]
    assert results[0] == results[1] != results[2]
    np.testing.assert_array_equal(sample.label_map, blobs().label_map)
    np.testing.assert_array_equal(sample.boxes.xyxy, blobs().boxes.xyxy)
    assert Elastic(p=0.0)(sample, 1) is sample
    np.testing.assert_array_equal(Elastic(sigma=0.0)(sample, 1).image, sample.image)
    share = np.mean([Elastic(p=0.25)(sample, seed) is sample for seed in range(400)])
    assert 0.68 < share < 0.82


def test_pictures_of_a_few_pixels():
    for size in ((1, 1), (1, 7), (2, 3)):
        sample = Sample(np.full((*size, 3), 7, np.uint8), "x", 0, size, np.ones(size, np.uint8), Boxes.of([], []))
        after = Elastic()(sample, 0)
        assert (after.image == 7).all()
        assert (after.label_map == 1).all()
        assert after.boxes.count == 0
