"""Boundaries of label maps against brute force, and boundary IoU against another implementation."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest

from toolkit.ops.boundaries import band_counts, edge_counts


def blobs(random: np.random.Generator, height: int, width: int, classes: int = 3) -> np.ndarray:
    """Ellipses of several classes, some over the edge, on class 0."""
    labels = np.zeros((height, width), np.uint8)
    for _ in range(int(random.integers(0, 5))):
        middle = (int(random.integers(0, width)), int(random.integers(0, height)))
        axes = (int(random.integers(1, 20)), int(random.integers(1, 20)))
        cv2.ellipse(labels, middle, axes, float(random.integers(0, 180)), 0, 360, int(random.integers(0, classes)), -1)
    return labels


def pair(random: np.random.Generator, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Two label maps, in most cases one a little moved from the other."""
    height, width = (int(side) for side in random.integers(1, 60, 2))
    truth = blobs(random, height, width, classes)
    moved = np.roll(truth, tuple(random.integers(-3, 4, 2)), (0, 1))
    return truth, moved if random.random() < 0.7 else blobs(random, height, width, classes)


def edge_pixels(labels: np.ndarray, truth: np.ndarray, label: int) -> list[tuple[int, int]]:
    """Boundary pixels of a class, by looking at each pixel's neighbours."""
    height, width = labels.shape
    found = []
    for y, x in np.argwhere((labels == label) & (truth != 255)).tolist():
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        inside = [(a, b) for a, b in around if 0 <= a < height and 0 <= b < width and truth[a, b] != 255]
        if any(labels[a, b] != label for a, b in inside):
            found.append((y, x))
    return found


def test_edges_equal_brute_force() -> None:
    random = np.random.default_rng(0)
    for _ in range(60):
        truth, prediction = pair(random)
        truth[random.random(truth.shape) < 0.05] = 255
        prediction[random.random(truth.shape) < 0.05] = 255  # no class
        tolerance = float(random.choice([0.0075, 0.03, 0.1]))
        limit = tolerance * math.hypot(*truth.shape)
        found = edge_counts(truth, prediction, 3, tolerance)
        for label in range(3):
            true, predicted = (edge_pixels(labels, truth, label) for labels in (truth, prediction))

            def near(own, other, limit=limit):
                return sum(any(math.dist(one, two) < limit for two in other) for one in own)

            expected = [(truth == label).sum(), len(true), near(true, predicted), len(predicted), near(predicted, true)]
            assert found[label].tolist() == expected


def test_a_tolerance_of_four_and_a_half_pixels() -> None:
    """0.75 % of the diagonal of 360x480: a boundary 4 pixels off agrees, one 5 pixels off does not."""
    truth = np.zeros((360, 480), np.uint8)
    truth[:, 200:] = 1
    for moved, agrees in ((4, True), (5, False)):
        found = edge_counts(truth, np.roll(truth, moved, 1), 2)[1]
        # Moved around the edge, a second boundary appears there, which is near no true one.
        assert found.tolist() == [360 * 280, 360, 360 * agrees, 720, 360 * agrees]


def test_bands_by_hand() -> None:
    """A square of 40 in an image whose bands are 2 pixels wide (2 % of 100 * sqrt(2) is 2.8: 3)."""
    truth = np.zeros((100, 100), np.uint8)
    truth[30:70, 30:70] = 1
    assert band_counts(truth, truth, 2)[1].tolist() == [40 * 40 - 34 * 34] * 2
    # The background's band runs around the square, and along the image's edge.
    assert band_counts(truth, truth, 2)[0].tolist() == [46 * 46 - 40 * 40 + 100 * 100 - 94 * 94] * 2
    right = truth.copy()
    right[30:70, 33:73], right[30:70, 30:33] = 1, 0
    inside, either = band_counts(truth, right, 2)[1]
    assert inside == 2 * (3 * 37)  # the strips above and below; upright bands of 3 pixels, moved by 3, miss one another
    assert either == 2 * (40 * 40 - 34 * 34) - inside


def test_along_ignored_pixels_there_is_no_boundary() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 18:22], truth[:, 22:] = 255, 1
    assert edge_counts(truth, truth, 2)[:, 1:].sum() == 0
    everywhere_else = np.zeros((40, 40), np.uint8)
    counted = band_counts(truth, everywhere_else, 2)
    assert counted[1].tolist() == [0, 18 * 40 - 17 * 38]  # width 1: only the edge of the image, on three sides
    assert edge_counts(truth, everywhere_else, 2)[:, 1:].sum() == 0


def test_bands_equal_vernier_on_a_thousand_masks() -> None:
    """Its IoU is the smaller of the masks' and the bands', as in the paper's AP."""
    instance = pytest.importorskip("vernier.instance", reason="vernier is not installed (pip install vernier)")
    from pycocotools import mask as masks

    random = np.random.default_rng(0)
    truth: dict[str, list] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "one"}]}
    results, expected = [], {}
    for number in range(1, 2201):
        maps = pair(random, classes=2)
        if not all(labels.any() for labels in maps):
            continue
        true, found = (masks.encode(np.asfortranarray(labels)) for labels in maps)
        one, other = (
            {"image_id": number, "category_id": 1, "bbox": masks.toBbox(code).tolist(),
             "segmentation": {"size": code["size"], "counts": code["counts"].decode()}}
            for code in (true, found)
        )  # fmt: skip
        truth["images"].append({"id": number, "width": maps[0].shape[1], "height": maps[0].shape[0]})
        truth["annotations"].append({**one, "id": number, "iscrowd": 0, "area": int(maps[0].sum())})
        results.append({**other, "score": 0.5})
        inside, either = band_counts(*maps, 2)[1].tolist()
        expected[number] = min(inside / either, (maps[0] & maps[1]).sum() / (maps[0] | maps[1]).sum())
    grid = instance.evaluate_boundary_grid(
        json.dumps(truth).encode(), results, retain_iou=True, parity_mode="strict", max_dets_per_image=100,
        use_cats=True, dilation_ratio=0.02,
    )  # fmt: skip
    assert len(expected) >= 1000
    assert {image: float(ious[0, 0]) for (image, _), ious in grid.ious().items()} == expected
