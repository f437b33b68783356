import numpy as np
import pytest

from toolkit.data.classes.tables import class_table, preset_names
from toolkit.errors import ConfigError
from toolkit.labels import default_palette


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_whole(name):
    names, palette, *_ = class_table(name)
    assert len(set(names)) == len(names) == len(palette)
    assert len(set(palette)) == len(palette)
    assert all(0 <= value <= 255 for color in palette for value in color)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("camvid11", 11),
        ("camvid11_dilation", 11),
        ("kitti11", 11),
        ("voc20", 20),
        ("voc21", 21),
        ("cityscapes19", 19),
        ("coco80", 80),
        ("bccd", 3),
        ("shapes", 7),
        ("shapes_boxes", 6),
        ("em_membranes", 2),
    ],
)
def test_presets_have_as_many_classes_as_they_say(name, count):
    assert len(class_table(name).names) == count


def test_orders_of_camvid_hold_the_same_classes():
    assert set(class_table("camvid11").names) == set(class_table("camvid11_dilation").names)
    assert class_table("camvid11").names[0] == "Sky"
    assert class_table("camvid11_dilation").names[0] == "Building"


def test_camvid_palette_is_that_of_the_files(real_data):
    lines = (real_data("camvid") / "classes.csv").read_text().split()[1:12]
    rows = [line.split(",") for line in lines]
    names, palette, *_ = class_table("camvid11")
    assert [row[1] for row in rows] == list(names)
    assert [tuple(int(v) for v in row[2:5]) for row in rows] == list(palette)


def test_default_palette_is_the_published_voc_one():
    # VOC 2012 development kit, VOClabelcolormap: bicycle, bird, person (15), tvmonitor (20)
    palette = default_palette(256)
    assert palette[2] == (0, 128, 0)
    assert palette[3] == (128, 128, 0)
    assert palette[15] == (192, 128, 128)
    assert palette[20] == (0, 64, 128)
    assert palette[255] == (224, 224, 192)
    assert len(np.unique(palette, axis=0)) == 256


def test_lists_of_names():
    assert class_table(["road", "sky"]).palette == default_palette(2)
    with pytest.raises(ConfigError, match="camvid11"):
        class_table("camvid12")
    with pytest.raises(ConfigError, match="empty"):
        class_table([])
    with pytest.raises(ConfigError, match="twice: sky"):
        class_table(["sky", "road", "sky"])
    with pytest.raises(ConfigError, match="non-empty text"):
        class_table(["sky", True])
    assert len(set(class_table([f"c{i}" for i in range(1000)]).palette)) == 1000  # ImageNet's classifiers
