"""Tables of stored values: single ones, ranges and a rest; and colours that a labelling tool wrote beside the masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toolkit.data.datasets.image_masks import ImageMasks
from toolkit.data.formats.class_files import read_label_colors
from toolkit.data.formats.label_values import MappedLabelReader
from toolkit.errors import ConfigError, DataError

STORED = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
IDS = np.random.default_rng(1).integers(0, 3000, (20, 30)).astype(np.uint16)


@pytest.mark.parametrize(
    ("stored", "table", "wanted"),
    [
        (IDS, {0: 0, "1-65535": 1}, IDS > 0),
        (IDS, {0: 0, "default": 1}, IDS > 0),
        (STORED, {"0-127": 0, "128-255": 1}, STORED > 127),
        (STORED, {"0 - 127": 0, "default": 1}, STORED > 127),
        (STORED, {"0-255": 1, "10-99": 0, 50: 1}, (STORED < 10) | (STORED > 99) | (STORED == 50)),
    ],
)
def test_ranges_and_a_rest(stored: np.ndarray, table: dict[Any, Any], wanted: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(stored).save(tmp_path / "m.png")
    found = MappedLabelReader(["no", "yes"], table)(tmp_path / "m.png")
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("key", "words"),
    [("high", "entry 'high' names no values"), ("9-3", "entry '9-3' names no values"), ("1-70000", "no mask can hold"),
     ("-5", "entry '-5' names no values")],
)  # fmt: skip
def test_the_entry_that_is_wrong_is_named(key: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MappedLabelReader(["no", "yes"], {0: 0, key: 1})


TABLE = "# label:color_rgb:parts:actions\nbackground:0,0,0::\npanel:250,50,83::\nwire:36,179,83::\n"


def test_colours_of_a_label_map_need_no_typing(tmp_path: Path) -> None:
    labels = np.random.default_rng(2).integers(0, 3, (12, 16))
    colors = np.array([[0, 0, 0], [250, 50, 83], [36, 179, 83]], np.uint8)
    for kind, pixels in (("images", np.zeros((12, 16, 3), np.uint8)), ("masks", colors[labels])):
        (tmp_path / kind).mkdir()
        Image.fromarray(pixels).save(tmp_path / kind / "a.png")
    (tmp_path / "labelmap.txt").write_text(TABLE)
    classes = ["background", "panel", "wire"]
    dataset = ImageMasks(classes, str(tmp_path), colors="labelmap.txt")
    np.testing.assert_array_equal(dataset[0].label_map, labels)
    assert dataset.palette[1] == (250, 50, 83)
    with pytest.raises(DataError, match=r"the colours stand in .*labelmap\.txt: say colors: labelmap\.txt"):
        ImageMasks(classes, str(tmp_path))[0]
    with pytest.raises(ConfigError, match="'wire' is no class"):
        ImageMasks(classes[:2], str(tmp_path), colors="labelmap.txt")


def test_a_table_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("panel 250 50 83\n")
    with pytest.raises(DataError, match="wanted 'name:r,g,b', found 'panel 250 50 83'"):
        read_label_colors(tmp_path / "t.txt")
