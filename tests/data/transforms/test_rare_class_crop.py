"""Windows that hold the rare, as often as asked; boxes and maps cut together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_run import tiny_config

from toolkit.config.load import parse_config
from toolkit.config.plain import to_yaml
from toolkit.data.transforms.rare_class_crop import RareClassCrop
from toolkit.errors import ConfigError
from toolkit.jobs.build_data import build_transforms
from toolkit.samples import Boxes, Sample

NAMES = ["ground", "car", "sign"]


def scene() -> Sample:
    """100 x 140: three pixels of sign, a small car; coordinates are written into the image."""
    label_map = np.zeros((100, 140), np.uint8)
    label_map[40:42, 97:98] = 2
    label_map[99, 139] = 2
    label_map[70:75, 3:9] = 1
    image = np.stack([*np.mgrid[0:100, 0:140], np.zeros((100, 140))], 2).astype(np.uint8)
    return Sample(image, "a.png", 0, (100, 140), label_map=label_map)


def boxed() -> Sample:
    boxes = Boxes.of([[10, 20, 14, 30], [60, 5, 130, 95], [0, 0, 140, 100]], [1, 2, 0])
    crowd = np.array([False, False, False])
    return scene()._replace(label_map=None, boxes=boxes._replace(crowd=crowd))


def holding(transform: RareClassCrop, sample: Sample, label: int, times: int = 400) -> float:
    found = 0
    for seed in range(times):
        cut = transform(sample, seed)
        assert cut.image.shape == (transform.height, transform.width, 3)
        assert cut.label_map is not None
        found += bool((cut.label_map == label).any())
    return found / times


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_the_share_of_windows_with_the_rare_is_the_one_asked_for(p: float) -> None:
    """By chance a window of 24 x 24 holds sign in a small share q of all: p + (1 - p) q."""
    sample, size = scene(), (24, 24)
    places = [(top, left) for top in range(77) for left in range(117)]
    rare = sample.label_map == 2  # type: ignore[union-attr]
    chance = np.mean([rare[top : top + 24, left : left + 24].any() for top, left in places])
    found = holding(RareClassCrop(*size, [2], p), sample, 2)
    assert found == pytest.approx(p + (1 - p) * chance, abs=0.075 if 0 < p < 1 else 0.06 * (p < 1))


def test_every_pixel_of_the_class_is_found_alike() -> None:
    crop = RareClassCrop(9, 9, ["sign"], 1.0, class_names=NAMES)
    corner = sum(bool((crop(scene(), seed).image[:, :, 1] == 139).any()) for seed in range(600))
    assert corner / 600 == pytest.approx(1 / 3, abs=0.06)  # one of its three pixels


def test_weights_say_which_class_is_sought() -> None:
    crop = RareClassCrop(8, 8, [1, "sign"], 1.0, weights=[3.0, 1.0], class_names=NAMES)
    assert holding(crop, scene(), 1) == pytest.approx(0.75, abs=0.07)
    only = scene()
    only.label_map[70:75, 3:9] = 0  # type: ignore[index]
    assert holding(crop, only, 2, 50) == 1.0  # a class the image lacks takes no part


def test_a_box_is_held_whole_and_a_large_one_by_its_middle() -> None:
    for seed in range(60):
        cut = RareClassCrop(32, 32, [1], 1.0)(boxed(), seed)
        assert cut.boxes is not None
        held = cut.boxes.xyxy[cut.boxes.labels == 1]
        assert (held[0, 2:] - held[0, :2]).tolist() == [4, 10]
    rows, columns = set(), set()
    for seed in range(60):
        image = RareClassCrop(20, 20, [2], 1.0)(boxed(), seed).image
        rows |= {50 in image[:, 0, 0]}
        columns |= {95 in image[0, :, 1]}
    assert rows == columns == {True}


def test_maps_boxes_and_image_are_cut_together() -> None:
    sample = scene()._replace(boxes=boxed().boxes, value_map=scene().image[:, :, 1].astype(np.float32))
    for seed in range(20):
        cut = RareClassCrop(30, 40, [2], 0.5)(sample, seed)
        top, left = int(cut.image[0, 0, 0]), int(cut.image[0, 0, 1])
        assert np.array_equal(cut.label_map, sample.label_map[top : top + 30, left : left + 40])  # type: ignore[index]
        assert np.array_equal(cut.value_map, cut.image[:, :, 1].astype(np.float32))
        again = RareClassCrop(30, 40, [2], 0.5)(sample, seed)
        assert np.array_equal(again.image, cut.image)  # a function of the seed


def test_a_smaller_image_is_padded() -> None:
    cut = RareClassCrop(128, 160, [2], 1.0)(scene(), 0)
    assert cut.label_map is not None
    assert (cut.label_map[100:] == 255).all()
    assert np.array_equal(cut.label_map[:100, :140], scene().label_map)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["sgn"], "no class is called 'sgn'; did you mean 'sign'"),
        ([7], "label 7 is not of a class"),
        ([], "names no class"),
    ],
)
def test_unknown_classes_are_refused(classes: list[int | str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RareClassCrop(8, 8, classes, class_names=NAMES)
    with pytest.raises(ConfigError, match="weights: wanted a number for each of the 1 classes"):
        RareClassCrop(8, 8, [0], weights=[1.0, 2.0])


def test_the_config_knows_the_names(tmp_path: Path) -> None:
    rare = "data.train.transforms=[{name: rare_class_crop, height: 16, width: 16, classes: [star, 2], p: 1.0}]"
    config = tiny_config(tmp_path / "data", rare)
    (crop,) = build_transforms(config, "train")
    assert isinstance(crop, RareClassCrop)
    assert crop.labels == [6, 2]
    again = parse_config(to_yaml(config), "again.yaml")
    assert build_transforms(again, "train")[0].labels == [6, 2]  # type: ignore[attr-defined]
