"""Agreement of regions against scikit-learn and scikit-image, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.ops.region_agreement import Overlaps, information_score, overlaps, rand_pairs, regions, thinned_regions


def divisions(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A true and a predicted division of a small image, 0 outside of all; sometimes one region, or none."""
    shape = tuple(random.integers(1, 12, 2))
    most = int(random.choice([1, 2, 5, 20]))
    true = random.integers(0, most + 1, shape)
    other = random.integers(0, int(random.choice([1, 3, 9])) + 1, shape)
    return true, np.where(random.random(shape) < random.random(), true, other)


def alone(true: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both divisions inside the true regions, every pixel without a predicted region in one of its own."""
    one, other = true[true > 0], predicted[true > 0].copy()
    outside = np.flatnonzero(other == 0)
    other[outside] = other.max(initial=0) + 1 + np.arange(len(outside))
    return one, other


def test_pairs_equal_all_pairs_of_pixels_on_a_thousand_divisions() -> None:
    random = np.random.default_rng(0)
    for _ in range(1100):
        true, predicted = divisions(random)
        one, other = alone(true, predicted)
        in_one, in_other = one[:, None] == one, other[:, None] == other
        expected = ((in_one & in_other).sum(), in_other.sum(), in_one.sum())
        assert rand_pairs(overlaps(true, predicted)) == expected


def test_pairs_and_information_equal_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    random = np.random.default_rng(0)
    for _ in range(30):
        true, predicted = divisions(random)
        found, labels = overlaps(true, predicted), alone(true, predicted)
        n = len(labels[0])
        if not n:
            assert np.isnan(information_score(found))
            continue
        both, given, wanted = rand_pairs(found)
        pairs = metrics.cluster.pair_confusion_matrix(*labels)
        assert (both - n, given - n, wanted - n) == (pairs[1, 1], pairs[:, 1].sum(), pairs[1].sum())
        assert information_score(found) == pytest.approx(metrics.normalized_mutual_info_score(*labels), abs=1e-9)


def test_rand_equals_scikit_images_adapted_rand_error() -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    random = np.random.default_rng(1)
    for _ in range(60):
        true, predicted = divisions(random)
        labels = alone(true, predicted)
        both, given, wanted = (pairs - len(labels[0]) for pairs in rand_pairs(overlaps(true, predicted)))
        if not given or not wanted:
            continue  # 0 / 0 there
        error, precision, recall = metrics.adapted_rand_error(*labels, ignore_labels=())
        assert 1 - 2 * both / (given + wanted) == pytest.approx(error, abs=1e-12)
        assert sorted((both / given, both / wanted)) == pytest.approx(sorted((precision, recall)), abs=1e-12)


def test_information_equals_scikit_images_variation_of_information() -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    random = np.random.default_rng(2)
    for _ in range(60):
        true, predicted = divisions(random)
        one, other = alone(true, predicted)
        sizes = [np.bincount(labels) / max(1, len(one)) for labels in (one, other)]
        entropies = [-(p[p > 0] * np.log2(p[p > 0])).sum() for p in sizes]
        if sum(entropies) > 0:
            variation = metrics.variation_of_information(one, other).sum()
            expected = (sum(entropies) - variation) / sum(entropies)
            assert information_score(overlaps(true, predicted)) == pytest.approx(expected, abs=1e-9)


def test_by_hand() -> None:
    """Two cells of 4 pixels, of which the prediction merges one pixel into the other and loses one."""
    true = np.array([[1, 1, 1, 1, 2, 2, 2, 2]])
    predicted = np.array([[7, 7, 7, 8, 8, 8, 8, 0]])
    found = overlaps(true, predicted)
    assert found.single == 1
    assert rand_pairs(found) == (9 + 1 + 9 + 1, 9 + 16 + 1, 16 + 16)
    same = Overlaps(np.array([8.0]), np.array([8.0]), np.array([8.0]), 0)
    assert information_score(same) == 1
    assert information_score(overlaps(np.ones((1, 8), int), np.repeat([[1, 2]], 4, 1))) == 0


def test_borders_of_any_width_become_lines() -> None:
    for width in range(1, 8):
        inside = np.ones((9, 20), bool)
        inside[:, 6 : 6 + width] = False
        thin = thinned_regions(inside)
        assert (thin == 0).sum(1).tolist() == [1] * 9
        line = int(np.flatnonzero(thin[0] == 0)[0])
        assert 6 + (width - 1) // 2 - 1 <= line <= 6 + width // 2
        assert set(thin[:, :line].flat) == {1}
        assert set(thin[:, line + 1 :].flat) == {2}


def test_without_a_region_there_is_only_border() -> None:
    assert not thinned_regions(np.zeros((3, 4), bool)).any()
    assert (thinned_regions(np.ones((3, 4), bool)) == 1).all()


def test_regions_do_not_hang_together_across_corners() -> None:
    assert regions(np.eye(3, dtype=bool)).max() == 3
