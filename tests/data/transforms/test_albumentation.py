"""albumentations' operations under our contract."""

import inspect
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

from toolkit.data.transforms.albumentation import operation_class, operation_names
from toolkit.data.transforms.pipeline import transform_class, transform_name
from toolkit.errors import ConfigError, DataError
from toolkit.samples import IGNORE_INDEX, Boxes, Sample


def scene(size=(64, 96), channels=3) -> Sample:
    rng = np.random.default_rng(0)
    labels = np.zeros(size, np.uint8)
    image = np.full((*size, channels), 90, np.uint8)
    boxes = [[8, 8, 32, 24], [60, 12, 90, 40], [20, 36, 50, 60]]
    for label, (x1, y1, x2, y2) in enumerate(boxes, 1):
        labels[y1:y2, x1:x2] = label
        image[y1:y2, x1:x2] = 60 * label
    weights = rng.random(size, np.float32) + 300
    return Sample(
        image, "s.png", 0, size, labels, Boxes.of(boxes, [1, 2, 3]), value_map=weights - 1, weight_map=weights
    )


def make(name: str, **arguments):
    return transform_class(name)(**arguments)


ARGUMENTS = {
    "AtLeastOneBBoxRandomCrop": {"height": 40, "width": 40},
    "CenterCrop": {"height": 40, "width": 40},
    "Crop": {"x_max": 50, "y_max": 50},
    "CropAndPad": {"percent": 0.1},
    "CropNonEmptyMaskIfExists": {"height": 40, "width": 40},
    "GridElasticDeform": {"num_grid_xy": (4, 4), "magnitude": 5},
    "LongestMaxSize": {"max_size": 50},
    "PadIfNeeded": {"min_height": 70, "min_width": 110},
    "PiecewiseAffine": {"nb_rows": (2, 2), "nb_cols": (2, 2)},
    "Superpixels": {"n_segments": (20, 20)},
    "RandomCrop": {"height": 40, "width": 40},
    "RandomResizedCrop": {"size": (40, 40)},
    "RandomSizedBBoxSafeCrop": {"height": 40, "width": 40},
    "RandomSizedCrop": {"min_max_height": (30, 50), "size": (40, 40)},
    "Resize": {"height": 40, "width": 40},
    "SmallestMaxSize": {"max_size": 50},
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", operation_names())
def test_every_operation_keeps_the_contract(name):
    """Same seed, same result; labels stay labels; boxes stay inside; the input stays as it was; pickle carries it."""
    arguments = dict(ARGUMENTS.get(name, {}))
    if "p" in inspect.signature(transform_class(name)).parameters:
        arguments["p"] = 1.0
    transform = make(name, **arguments)
    before, untouched = scene(), scene()
    first, second = transform(before, 11), pickle.loads(pickle.dumps(transform))(before, 11)
    for field in ("image", "label_map", "weight_map", "value_map"):
        np.testing.assert_array_equal(getattr(first, field), getattr(second, field))
        np.testing.assert_array_equal(getattr(before, field), getattr(untouched, field))
        assert getattr(first, field).shape[:2] == first.image.shape[:2]
    np.testing.assert_array_equal(first.boxes.xyxy, second.boxes.xyxy)
    assert first.image.dtype == np.uint8
    assert first.label_map.dtype == np.uint8
    assert first.weight_map.dtype == np.float32
    assert set(np.unique(first.label_map)) <= {0, 1, 2, 3, IGNORE_INDEX}
    height, width = first.image.shape[:2]
    assert (first.boxes.xyxy >= 0).all()
    assert (first.boxes.xyxy <= [width, height, width, height]).all()
    assert set(first.boxes.labels) <= {1, 2, 3}
    if not transform.random:
        np.testing.assert_array_equal(first.image, transform(before, 12).image)
    if not transform.moves and height == 64:
        np.testing.assert_array_equal(first.label_map, before.label_map)


def test_deterministic_operations_are_known():
    assert make("Resize", height=3, width=3).random is False
    assert make("HorizontalFlip", p=1.0).random is False
    assert make("HorizontalFlip").random is True
    assert make("PadIfNeeded", position="random").random is True
    assert make("PadIfNeeded").moves is True
    assert make("SmallestMaxSize", max_size=4).moves is False
    assert make("ColorJitter").moves is False


def test_signatures_are_albumentations_own():
    import albumentations

    for name in ("Affine", "RandomResizedCrop", "GaussNoise"):
        ours = inspect.signature(transform_class(name)).parameters
        theirs = list(inspect.signature(getattr(albumentations, name).__init__).parameters)[1:]
        assert list(ours) == theirs
        assert all(not isinstance(parameter.annotation, str) for parameter in ours.values())
    assert ours["std_range"].annotation == tuple[float, float]
    assert ours["p"].annotation is float
    assert inspect.signature(transform_class("RandomCrop")).parameters["height"].annotation is int


def test_every_signature_has_real_types():
    for name in operation_names():
        for parameter in inspect.signature(transform_class(name)).parameters.values():
            assert parameter.annotation is not parameter.empty, (name, parameter)
            assert "Any" not in str(parameter.annotation), (name, parameter)


def test_wrong_arguments_are_refused():
    with pytest.raises(ConfigError, match=r"HorizontalFlip.*'probability'"):
        make("HorizontalFlip", probability=0.5)
    with pytest.raises(ConfigError, match=r"RandomCrop.*'height'"):
        make("RandomCrop", width=5)
    with pytest.raises(ConfigError, match=r"RandomCrop.*wanted at least 1, found"):
        make("RandomCrop", height=-1, width=5)
    with pytest.raises(ConfigError, match="invent classes"):
        make("Affine", mask_interpolation=1)


def test_unknown_names_get_near_ones_of_both_kinds():
    with pytest.raises(ConfigError, match=r"did you mean.*'HorizontalFlip'"):
        transform_class("HorizontalFlop")
    with pytest.raises(ConfigError, match=r"did you mean.*'random_crop'"):
        transform_class("random_corp")
    assert operation_class("Compose") is None
    with pytest.raises(ConfigError, match=r"Normalize.*uint8 until the model"):
        transform_class("Normalize")
    with pytest.raises(ConfigError, match="Python"):
        transform_class("Lambda")
    assert transform_class("RandomCrop") is not transform_class("random_crop")
    assert transform_name(make("RandomCrop", height=1, width=1)) == "RandomCrop"
    assert transform_name(make("flip")) == "flip"


def test_rotated_corners_do_not_count():
    """albumentations fills masks with 0, which is a class."""
    after = make("Affine", rotate=(45, 45), p=1.0)(scene((64, 64)), 0)
    corner = (slice(0, 6), slice(0, 6))
    assert (after.label_map[corner] == IGNORE_INDEX).all()
    assert (after.weight_map[corner] == 0).all()
    assert np.isnan(after.value_map[corner]).all()
    assert (after.image[corner] == 0).all()
    inside = after.label_map != IGNORE_INDEX
    assert (after.weight_map[inside] >= 300).all()
    np.testing.assert_array_equal(after.weight_map[inside] - 1, after.value_map[inside])


def test_fill_can_be_chosen():
    after = make("Affine", rotate=(45, 45), p=1.0, fill_mask=2)(scene((64, 64)), 0)
    assert (after.label_map[:4, :4] == 2).all()


def test_flip_of_everything():
    before, after = scene(), make("HorizontalFlip", p=1.0)(scene(), 0)
    np.testing.assert_array_equal(after.image, before.image[:, ::-1])
    np.testing.assert_array_equal(after.label_map, before.label_map[:, ::-1])
    np.testing.assert_array_equal(after.weight_map, before.weight_map[:, ::-1])
    np.testing.assert_allclose(after.boxes.xyxy[0], [64, 8, 88, 24], atol=1e-3)
    np.testing.assert_allclose(after.boxes.area, before.boxes.area, rtol=1e-4)


def test_crop_clips_and_drops_boxes_and_scales_areas():
    boxes = Boxes.of([[0, 0, 20, 20], [38, 0, 60, 20], [10, 10, 30, 30]], [0, 1, 2])
    boxes = boxes._replace(area=np.array([200, 100, 300], np.float32), crowd=np.array([True, False, False]))
    sample = Sample(np.zeros((64, 96, 3), np.uint8), "x", 0, (64, 96), boxes=boxes)
    after = make("Crop", x_max=40, y_max=20)(sample, 0).boxes
    np.testing.assert_allclose(after.xyxy, [[0, 0, 20, 20], [10, 10, 30, 20]], atol=1e-3)  # 2/22 of the second is left
    assert after.labels.tolist() == [0, 2]
    assert after.crowd.tolist() == [True, False]
    np.testing.assert_allclose(after.area, [200, 150], rtol=1e-4)


def test_pictures_without_objects_or_labels():
    bare = Sample(scene().image, "x", 0, (64, 96))
    assert make("Affine", p=1.0)(bare, 0).label_map is None
    none = bare._replace(boxes=Boxes.of(np.zeros((0, 4)), []))
    after = make("Affine", rotate=(20, 20), p=1.0)(none, 0)
    assert after.boxes.count == 0
    assert after.boxes.xyxy.shape == (0, 4)


def test_gray_pictures_keep_their_channel():
    gray = scene(channels=1)
    for name in ("Affine", "RandomBrightnessContrast", "GaussianBlur"):
        assert make(name, p=1.0)(gray, 0).image.shape == (64, 96, 1)


def test_failures_name_the_picture_and_the_transform():
    with pytest.raises(DataError, match=r"s\.png: transform 'RandomCrop' cannot take this 64x96 image"):
        make("RandomCrop", height=500, width=500)(scene(), 0)


def test_nothing_is_imported_before_it_is_needed():
    code = (
        "import sys, toolkit.data.datasets, toolkit.data.loading.loader, toolkit.data.transforms.pipeline as t;"
        "t.transform_class('flip');"
        "print([m for m in ('albumentations', 'torchvision', 'scipy', 'pycocotools') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_colour_operations_do_not_warn_of_boxes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make("ColorJitter", p=1.0)(scene(), 0)
