"""The 2015 weight map against brute force on small maps, and its laws."""

import math

import numpy as np
import pytest

from toolkit.data.transforms.unet_weight_map import UNetWeightMap
from toolkit.errors import ConfigError, DataError
from toolkit.samples import IGNORE_INDEX, Sample

scipy_ndimage = pytest.importorskip("scipy.ndimage")


def sample_of(labels):
    labels = np.asarray(labels, np.uint8)
    return Sample(np.zeros((*labels.shape, 1), np.uint8), "x.png", 0, labels.shape, label_map=labels)


def brute_force(labels, w0, sigma, cells):
    """Every background pixel against every pixel of every component, in float64."""
    components = []
    for label in cells:
        numbers, count = scipy_ndimage.label(labels == label)  # neighbours at sides
        components += [np.argwhere(numbers == number) for number in range(1, count + 1)]
    weights = np.ones(labels.shape)
    weights[labels == IGNORE_INDEX] = 0
    background = np.argwhere(~np.isin(labels, [*cells, IGNORE_INDEX]))
    between = [np.linalg.norm(background[:, None] - pixels[None], axis=2).min(1) for pixels in components]
    if len(between) > 1:
        total = np.sort(between, axis=0)[:2].sum(0)
        weights[tuple(background.T)] += w0 * np.exp(-(total**2) / (2 * sigma**2))
    return weights


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("w0", "sigma"), [(10.0, 5.0), (3.0, 1.5)])
def test_equals_brute_force(seed, w0, sigma):
    rng = np.random.default_rng(seed)
    labels = (scipy_ndimage.gaussian_filter(rng.normal(size=(30, 37)), 1.5) > 0.1).astype(np.uint8)
    labels[labels > 0] = rng.integers(1, 3)
    labels[:12, 20:] *= 2
    labels[20:24, 5:9] = IGNORE_INDEX
    found = UNetWeightMap(w0, sigma)(sample_of(labels), 0).weight_map
    expected = brute_force(labels, w0, sigma, [label for label in np.unique(labels) if label not in (0, IGNORE_INDEX)])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6 * w0)
    assert expected.max() > 1 + 0.3 * w0  # the comparison saw the second term


def test_a_worked_case():
    # Two one-pixel cells four pixels apart: in the middle d1 = d2 = 2.
    labels = np.zeros((5, 9), np.uint8)
    labels[2, [2, 6]] = 1
    weights = UNetWeightMap()(sample_of(labels), 0).weight_map
    assert weights[2, 4] == pytest.approx(1 + 10 * math.exp(-16 / 50), rel=1e-6)
    assert weights[2, 3] == pytest.approx(1 + 10 * math.exp(-16 / 50), rel=1e-6)  # 1 and 3
    assert weights[2, 0] == pytest.approx(1 + 10 * math.exp(-64 / 50), rel=1e-6)  # 2 and 6
    assert weights[2, 2] == weights[2, 6] == 1


@pytest.mark.parametrize("cells", [0, 1])
def test_fewer_than_two_cells_have_no_second_distance(cells):
    labels = np.zeros((20, 20), np.uint8)
    labels[5:9, 5:9] = cells
    np.testing.assert_array_equal(UNetWeightMap()(sample_of(labels), 0).weight_map, 1)


def test_ignored_pixels_are_neither_cell_nor_background():
    labels = np.zeros((9, 30), np.uint8)
    labels[:, 8] = labels[:, 14] = 1
    plain = UNetWeightMap()(sample_of(labels), 0).weight_map
    labels[:, 10:12] = IGNORE_INDEX
    weights = UNetWeightMap()(sample_of(labels), 0).weight_map
    assert (weights[:, 10:12] == 0).all()
    kept = labels != IGNORE_INDEX
    np.testing.assert_array_equal(weights[kept], plain[kept])
    assert (UNetWeightMap()(sample_of(np.full((4, 4), IGNORE_INDEX)), 0).weight_map == 0).all()


def test_a_diagonal_border_separates_by_default():
    labels = 1 - np.eye(12, dtype=np.uint8)
    assert UNetWeightMap()(sample_of(labels), 0).weight_map[5, 5] == pytest.approx(1 + 10 * math.exp(-4 / 50))
    assert UNetWeightMap(connectivity=8)(sample_of(labels), 0).weight_map[5, 5] == 1


def test_class_balance():
    labels = np.zeros((10, 10), np.uint8)
    labels[:2] = 2
    labels[2, :5] = IGNORE_INDEX
    sample = sample_of(labels)
    given = UNetWeightMap(class_weights=[0.5, 9.0, 3.0])(sample, 0).weight_map
    assert [given[5, 5], given[0, 0], given[2, 0]] == [0.5, 3.0, 0.0]
    balanced = UNetWeightMap(class_weights="inverse_frequency")(sample, 0).weight_map
    assert balanced[labels == 0].sum() == pytest.approx(balanced[labels == 2].sum())
    assert balanced[labels != IGNORE_INDEX].mean() == pytest.approx(1)
    with pytest.raises(ConfigError, match="has 2 numbers, but the label map holds class 2"):
        UNetWeightMap(class_weights=[1.0, 1.0])(sample, 0)


def test_which_classes_are_cells():
    labels = np.full((7, 15), 3, np.uint8)  # class 3 is the background here, class 0 a cell
    labels[:, 4] = labels[:, 10] = 0
    weights = UNetWeightMap(cells=[0])(sample_of(labels), 0).weight_map
    assert weights[3, 7] == pytest.approx(1 + 10 * math.exp(-36 / 50))
    assert weights[3, 4] == 1


def test_what_is_wrong_is_said():
    with pytest.raises(DataError, match=r"x.png: has no label map"):
        UNetWeightMap()(sample_of(np.zeros((3, 3)))._replace(label_map=None), 0)
    with pytest.raises(ConfigError, match="names no class"):
        UNetWeightMap(cells=[])
    for wrong in ([], [1.0, -1.0]):
        with pytest.raises(ConfigError, match="from 0 up"):
            UNetWeightMap(class_weights=wrong)


def test_hundreds_of_cells_and_what_is_far_apart():
    labels = np.zeros((400, 400), np.uint8)
    labels[4::16, 4::16] = 1
    weights = UNetWeightMap()(sample_of(labels), 0).weight_map
    assert weights[4, 12] == pytest.approx(1 + 10 * math.exp(-256 / 50), rel=1e-5)
    np.testing.assert_allclose(weights[32:96, 32:96], weights[160:224, 160:224], rtol=1e-6)
    labels[:, 20:380] = 0
    np.testing.assert_array_equal(UNetWeightMap()(sample_of(labels), 0).weight_map[:, 100:300], 1)
