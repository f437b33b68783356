"""Every wrong pixel is of one kind, the one that scipy's regions and distances give by the definition."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage

from toolkit.ops.confusion import confusion_matrix
from toolkit.ops.pixel_errors import ERROR_KINDS, FOUND_SHARE, border_distance, count_error_pixels, error_kinds

BOUNDARY, CONFUSION, MISSED, FALSE = range(1, 5)


def blobs(random: np.random.Generator, classes: int, size: tuple[int, int] = (40, 52)) -> np.ndarray:
    """A label map of smooth regions, with pixels that do not count."""
    values = random.normal(size=(classes, *size)).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(plane, (0, 0), 4) for plane in values])
    labels = smooth.argmax(0).astype(np.uint8)
    labels[random.random(size) < 0.03] = 255
    return labels


def answer_to(random: np.random.Generator, truth: np.ndarray, classes: int) -> np.ndarray:
    """A prediction with shifted borders, regions that are missed or invented, and pixels without a class."""
    answer = np.roll(np.where(truth == 255, 0, truth), random.integers(-2, 3, 2), (0, 1))
    for _ in range(4):
        top, left = random.integers(0, 40), random.integers(0, 52)
        height, width = random.integers(1, 14, 2)
        answer[top : top + height, left : left + width] = random.integers(0, classes)
    answer[random.random(truth.shape) < 0.02] = 255
    return answer.astype(np.uint8)


def kinds_by_scipy(truth: np.ndarray, answer: np.ndarray, distance: float) -> np.ndarray:
    """The definition word by word, pixel by pixel."""

    def near(labels: np.ndarray, label: int) -> np.ndarray:
        there = labels == label
        far = np.full(truth.shape, np.inf)
        return (ndimage.distance_transform_edt(~there) if there.any() else far) <= distance + 1e-9

    def unmet(own: np.ndarray, other: np.ndarray) -> np.ndarray:
        found = np.zeros(truth.shape, bool)
        for label in np.unique(own[own != 255]):
            regions, number = ndimage.label(own == label, np.ones((3, 3)))
            for region in range(1, number + 1):
                pixels = (regions == region) & (truth != 255)
                if (near(other, label) & pixels).sum() < FOUND_SHARE * pixels.sum():
                    found |= regions == region
        return found

    missed, false = unmet(truth, answer), unmet(answer, truth)
    kinds = np.zeros(truth.shape, np.uint8)
    for y, x in np.ndindex(*truth.shape):
        if truth[y, x] == 255:
            kinds[y, x] = 255
        elif truth[y, x] != answer[y, x]:
            if missed[y, x] != false[y, x]:
                kinds[y, x] = MISSED if missed[y, x] else FALSE
            elif not missed[y, x] and answer[y, x] != 255 and near(truth, answer[y, x])[y, x]:
                kinds[y, x] = BOUNDARY
            else:
                kinds[y, x] = CONFUSION
    return kinds


@pytest.mark.parametrize("seed", range(4))
def test_kinds_are_those_of_the_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = blobs(random, 4, (24, 30))
    answer = answer_to(random, truth, 5)
    for distance in (1.0, 2.3):
        np.testing.assert_array_equal(error_kinds(truth, answer, distance), kinds_by_scipy(truth, answer, distance))


@pytest.mark.parametrize("seed", range(25))
def test_the_kinds_of_any_two_maps_add_up_to_the_confusion_matrix(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = blobs(random, 5) if seed % 2 else random.integers(0, 6, (17, 9)).astype(np.uint8)
    answer = answer_to(random, truth, 6) if seed % 2 else random.integers(0, 6, (17, 9)).astype(np.uint8)
    counts = count_error_pixels(truth, answer, error_kinds(truth, answer, 1.5), 6)
    matrix = confusion_matrix(truth, answer, 6)
    right = np.diagonal(matrix)
    np.testing.assert_array_equal(counts[..., 0].sum(0), matrix.sum(1) - right)
    np.testing.assert_array_equal(counts[..., 1].sum(0), matrix[:, :6].sum(0) - right)


def test_a_thin_object_that_nobody_found_is_missed_and_not_a_border() -> None:
    truth = np.zeros((30, 30), np.uint8)
    truth[:, 10:12] = 1
    kinds = error_kinds(truth, np.zeros_like(truth), 4.0)
    assert (kinds[:, 10:12] == MISSED).all()
    assert kinds.sum() == 60 * MISSED


def test_a_found_object_that_is_too_large_has_a_border_error_and_an_invented_one_is_false() -> None:
    truth = np.zeros((30, 40), np.uint8)
    truth[5:15, 5:15] = 1
    answer = np.zeros_like(truth)
    answer[4:16, 4:16] = 1
    answer[5:15, 28:38] = 1
    kinds = error_kinds(truth, answer, 2.0)
    assert (kinds[5:15, 28:38] == FALSE).all()
    assert (kinds[4, 4:16] == BOUNDARY).all()
    assert (kinds == BOUNDARY).sum() == 12 * 12 - 100


def test_an_object_that_is_called_something_else_is_one_confusion() -> None:
    truth = np.zeros((30, 30), np.uint8)
    truth[5:15, 5:15] = 1
    kinds = error_kinds(truth, np.where(truth == 1, 2, truth).astype(np.uint8), 2.0)
    assert (kinds[5:15, 5:15] == CONFUSION).all()
    assert (kinds > 0).sum() == 100


def test_names_of_classes_do_not_matter() -> None:
    random = np.random.default_rng(7)
    truth = blobs(random, 5)
    answer = answer_to(random, truth, 5)
    other = np.append(random.permutation(5), np.zeros(251)).astype(np.uint8)
    other[255] = 255
    np.testing.assert_array_equal(error_kinds(other[truth], other[answer], 2.0), error_kinds(truth, answer, 2.0))


def test_the_distance_grows_with_the_image_and_is_a_pixel_at_least() -> None:
    assert border_distance((1024, 2048)) == pytest.approx(17.17, abs=0.01)
    assert border_distance((8, 8)) == 1.0
    assert len(ERROR_KINDS) == 4
