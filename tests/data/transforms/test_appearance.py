"""Changes of the picture alone: against OpenCV, torchvision and scipy, or by a law."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.transforms.v2 import functional as F

from toolkit.data.transforms import appearance
from toolkit.data.transforms.pipeline import refuse_for_evaluation, transform_class
from toolkit.samples import IGNORE_INDEX, Sample

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
SAMPLE = Sample(IMAGE, "a.png", 0, (20, 30), label_map=np.ones((20, 30), np.uint8))
NAMES = ["color_drop", "color_jitter", "gaussian_noise", "gaussian_blur", "sobel"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_only_the_picture_changes_and_by_the_seed_alone(name: str, channels: int) -> None:
    sample = SAMPLE._replace(image=IMAGE[..., :channels])
    always, never = transform_class(name)(p=1.0), transform_class(name)(p=0.0)
    found = always(sample, 3)
    assert found.image.shape == sample.image.shape
    assert found.image.dtype == np.uint8
    assert found.label_map is sample.label_map
    np.testing.assert_array_equal(found.image, always(sample, 3).image)
    np.testing.assert_array_equal(never(sample, 3).image, sample.image)


def test_brightness_contrast_and_saturation_are_torchvisions() -> None:
    tensor = torch.from_numpy(IMAGE).permute(2, 0, 1)
    changes = {"brightness": F.adjust_brightness, "contrast": F.adjust_contrast, "saturation": F.adjust_saturation}
    for name, theirs in changes.items():
        ours = appearance._blended(IMAGE, appearance._base(IMAGE, name), 1.3)
        wanted = theirs(tensor, 1.3).permute(1, 2, 0).numpy()
        assert np.abs(ours.astype(int) - wanted).max() <= 2  # they cut fractions off, we round


def test_a_whole_turn_of_the_hue_is_none_and_a_third_exchanges_the_colours() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[..., 0] = 200
    turned = appearance._turned_hue(image, 1 / 3)
    assert (turned[..., 1] >= 195).all()
    assert (turned[..., 0] <= 8).all()
    assert np.abs(appearance._turned_hue(IMAGE, 1.0).astype(int) - IMAGE).max() <= 12  # 8-bit hues


def test_sobel_is_scipys_and_may_stand_in_evaluation() -> None:
    gray = IMAGE[..., :1]
    found = transform_class("sobel")(p=1.0)(SAMPLE._replace(image=gray), 0).image[..., 0]
    one, other = (ndimage.sobel(gray[..., 0].astype(float), axis, mode="mirror") for axis in (0, 1))
    np.testing.assert_array_equal(found, np.rint(np.minimum(np.hypot(one, other), 255)))
    refuse_for_evaluation([transform_class("sobel")(p=1.0)])


def test_blur_keeps_a_flat_picture_and_noise_has_its_deviation() -> None:
    flat = SAMPLE._replace(image=np.full((64, 64, 3), 128, np.uint8))
    np.testing.assert_array_equal(transform_class("gaussian_blur")(p=1.0)(flat, 0).image, flat.image)
    stds = [transform_class("gaussian_noise")(std=30.0, p=1.0)(flat, seed).image.std() for seed in range(30)]
    assert 0 <= min(stds) < 10
    assert 20 < max(stds) <= 31


def test_cutout_covers_pixels_and_their_labels_only_when_asked() -> None:
    for ignore in (False, True):
        found = transform_class("cutout")(size=8, holes=2, fill=7.0, ignore=ignore, p=1.0)(SAMPLE, 4)
        covered = (found.image != IMAGE).any(2)
        assert 0 < covered.sum() <= 2 * 64
        assert (found.image[covered] == 7).all()
        assert found.label_map is not None
        assert (found.label_map[covered] == (IGNORE_INDEX if ignore else 1)).all()
        assert (found.label_map[~(found.image == 7).all(2)] == 1).all()
