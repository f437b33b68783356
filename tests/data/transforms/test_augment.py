"""Our transforms: exact cases, and the law that every kind of annotation moves with the picture."""

import numpy as np
import pytest

from toolkit.contracts import TRANSFORMS, MixingTransform
from toolkit.data.transforms.augment import Flip, RandomCrop, RandomScale, Resize, ResizeShorter
from toolkit.data.transforms.elastic import Elastic
from toolkit.data.transforms.mirror_border import MirrorBorder
from toolkit.data.transforms.pipeline import Pipeline, transform_class
from toolkit.data.transforms.rare_class_crop import RareClassCrop
from toolkit.data.transforms.reframe import CropAndResize, LargeScaleJitter, Rotate90
from toolkit.data.transforms.unet_weight_map import UNetWeightMap
from toolkit.data.transforms.warp import Warp
from toolkit.errors import ConfigError
from toolkit.samples import IGNORE_INDEX, Boxes, Sample

BUILD = {
    "resize": lambda: Resize(48, 80),
    "resize_shorter": lambda: ResizeShorter(48, choices=[32, 48, 96]),
    "random_scale": lambda: RandomScale(0.5, 2.0),
    "random_crop": lambda: RandomCrop(40, 50),
    "rare_class_crop": lambda: RareClassCrop(40, 50, [3], 0.7),
    "flip": lambda: Flip(0.5),
    "elastic": lambda: Elastic(sigma=3.0),
    "mirror_border": lambda: MirrorBorder(12, height=100, width=90),
    "unet_weight_map": lambda: UNetWeightMap(),
    "crop_and_resize": lambda: CropAndResize(96, 128, area=(0.3, 1.0)),
    "large_scale_jitter": lambda: LargeScaleJitter(96, 128, minimum=0.5, maximum=1.2),
    "rotate90": lambda: Rotate90(p=1.0),
    "warp": lambda: Warp(96, 128, (0.5, 1.5)),
}
MAKES_ITS_OWN_WEIGHTS = {"unet_weight_map"}
KINDS = {name: TRANSFORMS.find(name) for name in TRANSFORMS.names()}
ALONE = sorted(name for name, kind in KINDS.items() if not issubclass(kind, MixingTransform))
"""Those that need no other picture; `test_mixing.py` has the others, `test_appearance.py` those that move no pixel."""
MOVING = [name for name in ALONE if KINDS[name].geometric and name not in MAKES_ITS_OWN_WEIGHTS]


def built(name):
    """A transform with the arguments above, or without any."""
    return BUILD.get(name, KINDS[name])()


def scene(height: int = 64, width: int = 96) -> Sample:
    """Four rectangles whose colour, label, value, weight and box say the same thing."""
    image = np.zeros((height, width, 3), np.uint8)
    labels = np.zeros((height, width), np.uint8)
    boxes = [[8, 8, 32, 24], [60, 12, 90, 40], [10, 40, 40, 60], [50, 44, 94, 62]]
    for label, (x1, y1, x2, y2) in enumerate(boxes, 1):
        labels[y1:y2, x1:x2] = label
        image[y1:y2, x1:x2] = 50 * label
    maps = labels.astype(np.float32)
    return Sample(image, "scene", 0, (height, width), labels, Boxes.of(boxes, [1, 2, 3, 4]), None, None, maps, maps + 1)


@pytest.mark.parametrize("name", MOVING)
def test_everything_moves_together(name):
    transform = built(name)
    for seed in range(12):
        before = scene()
        after = transform(before, seed)
        counted = after.label_map != IGNORE_INDEX
        inner = counted & (after.value_map == after.label_map)
        assert (inner == counted).all()
        np.testing.assert_array_equal(after.weight_map[counted], after.label_map[counted] + 1)
        assert (after.weight_map[~counted] == 0).all()
        assert np.isnan(after.value_map[~counted]).all()
        assert (after.image[~counted] == 0).all() or name == "mirror_border"
        error = np.abs(after.image[..., 0].astype(int) - 50 * after.label_map.astype(int))[counted]
        assert (error > 25).mean() < 0.06  # blurred edges only
        assert len(after.boxes.labels) <= 4
        for box, label in zip(after.boxes.xyxy, after.boxes.labels, strict=True):
            y, x = np.nonzero(after.label_map == label)
            np.testing.assert_allclose(box, [x.min(), y.min(), x.max() + 1, y.max() + 1], atol=1.5)
        for label in set(np.unique(after.label_map)) - {0, IGNORE_INDEX} - set(after.boxes.labels):
            assert (after.label_map == label).sum() < 0.1 * (before.label_map == label).sum() * 4 + 50


@pytest.mark.parametrize("name", [name for name in ALONE if KINDS[name].geometric])
def test_pure_function_of_the_seed(name):
    before = scene()
    kept = [None if a is None else np.array(a) for a in (before.image, before.label_map, before.boxes.xyxy)]
    results = [built(name)(before, seed).image for seed in (1, 1, *range(2, 20))]
    np.testing.assert_array_equal(results[0], results[1])
    varied = len({result.tobytes() for result in results}) > 1
    assert varied == TRANSFORMS.find(name).random or name == "resize_shorter"
    for old, now in zip(kept, (before.image, before.label_map, before.boxes.xyxy), strict=True):
        np.testing.assert_array_equal(old, now)


def test_resize_by_two_and_back_is_exact_for_labels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, (20, 30), np.uint8)
    sample = Sample(rng.integers(0, 255, (20, 30, 1), np.uint8), "x", 0, (20, 30), label_map=labels)
    double = Resize(40, 60)(sample, 0)
    np.testing.assert_array_equal(double.label_map, labels.repeat(2, 0).repeat(2, 1))
    assert double.image.shape == (40, 60, 1)
    np.testing.assert_array_equal(Resize(20, 30)(double, 0).label_map, labels)


def test_resize_of_boxes_and_areas():
    after = Resize(128, 48)(scene(), 0)
    np.testing.assert_allclose(after.boxes.xyxy[0], [4, 16, 16, 48])
    np.testing.assert_allclose(after.boxes.area, scene().boxes.area)
    assert after.original_size == (64, 96)


@pytest.mark.parametrize(
    ("size", "shorter", "longer", "wanted"),
    [((300, 400), 600, 1000, (600, 800)), ((300, 900), 600, 1000, (333, 1000)), ((800, 600), 300, None, (400, 300))],
)
def test_resize_shorter_as_faster_rcnn_does(size, shorter, longer, wanted):
    sample = Sample(np.zeros((*size, 3), np.uint8), "x", 0, size)
    assert ResizeShorter(shorter, longer)(sample, 0).image.shape[:2] == wanted
    assert not ResizeShorter(shorter, longer).random
    assert ResizeShorter(shorter, choices=[10, 20]).random


def test_random_scale_stays_in_its_range():
    heights = {RandomScale(0.5, 2.0)(scene(), seed).image.shape[0] for seed in range(100)}
    assert min(heights) >= 32
    assert max(heights) <= 128
    assert len(heights) > 40
    with pytest.raises(ConfigError, match="larger than maximum"):
        RandomScale(2.0, 0.5)


def test_crop_pads_small_pictures_with_what_does_not_count():
    after = RandomCrop(100, 120)(scene(), 0)
    assert after.image.shape == (100, 120, 3)
    np.testing.assert_array_equal(after.label_map[:64, :96], scene().label_map)
    assert (after.label_map[64:] == IGNORE_INDEX).all()
    assert (after.label_map[:, 96:] == IGNORE_INDEX).all()
    np.testing.assert_array_equal(after.boxes.xyxy, scene().boxes.xyxy)


def test_crops_reach_every_corner():
    corners = {tuple(RandomCrop(62, 95)(scene(), seed).label_map[[0, -1, 0], [0, 0, 20]]) for seed in range(60)}
    tops = {RandomCrop(1, 96)(scene(), seed).image.tobytes() for seed in range(400)}
    rows = {scene().image[row : row + 1].tobytes() for row in range(64)}
    assert tops == rows
    assert corners


def test_max_share_avoids_windows_of_one_class():
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 48:] = 1
    sample = Sample(np.zeros((64, 64, 3), np.uint8), "x", 0, (64, 64), label_map=labels)
    mixed = [
        len(np.unique(RandomCrop(16, 16, share)(sample, s).label_map)) == 2 for share in (1.0, 0.75) for s in range(99)
    ]
    assert sum(mixed[:99]) < 50
    assert sum(mixed[99:]) > 80


def test_flipping_twice_is_the_same():
    once = Flip(1.0)(scene(), 0)
    assert once.boxes.xyxy[0].tolist() == [64, 8, 88, 24]
    twice = Flip(1.0)(once, 1)
    np.testing.assert_array_equal(twice.image, scene().image)
    np.testing.assert_array_equal(twice.boxes.xyxy, scene().boxes.xyxy)
    share = np.mean([(Flip(0.3)(scene(), seed).image != scene().image).any() for seed in range(500)])
    assert 0.23 < share < 0.37


@pytest.mark.parametrize("name", ["HorizontalFlip", "VerticalFlip"])
def test_a_mirror_image_is_albumentations(name: str) -> None:
    ours = Flip(float(name == "HorizontalFlip"), float(name == "VerticalFlip"))(scene(), 0)
    theirs = transform_class(name)(p=1.0)(scene(), 0)
    np.testing.assert_array_equal(ours.image, theirs.image)
    np.testing.assert_array_equal(ours.label_map, theirs.label_map)
    np.testing.assert_allclose(ours.boxes.xyxy, theirs.boxes.xyxy, atol=1e-4)


def test_both_mirrors_are_a_half_turn() -> None:
    turned = Flip(1.0, 1.0)(scene(), 0)
    np.testing.assert_array_equal(turned.image, np.rot90(scene().image, 2))
    still = Flip(0.3)(scene(), 5)  # a second probability changes no draw of the first
    np.testing.assert_array_equal(Flip(0.3, 1.0)(scene(), 5).image[::-1], still.image)


def test_boxes_that_leave_are_dropped_and_flags_follow():
    boxes = Boxes.of([[0, 0, 10, 10], [0, 0, 40, 40], [30, 30, 40, 40]], [5, 6, 7])
    boxes = boxes._replace(crowd=np.array([0, 1, 0], bool), difficult=np.array([0, 0, 1], bool), area=boxes.area / 2)
    sample = Sample(np.zeros((40, 40, 3), np.uint8), "x", 0, (40, 40), boxes=boxes)
    for seed in range(50):
        after = RandomCrop(20, 20)(sample, seed).boxes
        assert (after.xyxy >= 0).all()
        assert (after.xyxy <= 20).all()
        assert after.labels.tolist() == [label for label in (5, 6, 7) if label in after.labels]
        assert after.crowd.tolist() == [label == 6 for label in after.labels]
        assert after.difficult.tolist() == [label == 7 for label in after.labels]
        sides = after.xyxy[:, 2:] - after.xyxy[:, :2]
        np.testing.assert_allclose(after.area, sides.prod(1) / 2, rtol=1e-5)
        assert (sides.prod(1)[after.labels != 6] >= 0.1 * 100).all()


def test_a_pipeline_gives_each_transform_its_own_seed():
    crop = RandomCrop(30, 40)
    twice = Pipeline([crop, crop])
    sample = scene(200, 300)
    found = twice(sample, 5)
    np.testing.assert_array_equal(found.image, twice(sample, 5).image)
    assert not np.array_equal(found.image, crop(crop(sample, 5), 5).image) or (found.image == 0).all()
    assert Pipeline([])(sample, 1) is sample


def test_mirror_border_goes_on_as_the_picture_in_a_mirror():
    before = scene(20, 30)
    after = MirrorBorder(5, height=40, width=30)(before, 0)
    assert after.image.shape == (40, 40, 3)
    wanted = np.pad(before.image, ((5, 15), (5, 5), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(after.image, wanted)
    np.testing.assert_array_equal(after.label_map[5:25, 5:35], before.label_map)
    assert (after.label_map != IGNORE_INDEX).sum() == 20 * 30
