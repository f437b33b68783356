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
        (STORED, {"<=127": 0, ">127": 1}, STORED > 127),
        (IDS, {"<1": 0, ">= 1": 1}, IDS > 0),
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
    for given in (classes, None):
        unsaid = ImageMasks(given, str(tmp_path))
        assert unsaid.classes == tuple(classes)
        assert unsaid.palette[1] == (250, 50, 83)
        assert any("labelmap.txt: classes and colours" in note for note in unsaid.notes)
        np.testing.assert_array_equal(unsaid[0].label_map, labels)
    with pytest.raises(ConfigError, match="'wire' is no class"):
        ImageMasks(classes[:2], str(tmp_path), colors="labelmap.txt")


def test_a_table_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("panel 250 50 83\n")
    with pytest.raises(DataError, match="wanted 'name:r,g,b', found 'panel 250 50 83'"):
        read_label_colors(tmp_path / "t.txt")


def folder_of(root: Path, mask: np.ndarray) -> str:
    for kind, pixels in (("images", np.zeros((*mask.shape[:2], 3), np.uint8)), ("masks", mask)):
        (root / kind).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / kind / "a.png")
    return str(root)


LABELS = np.random.default_rng(3).integers(0, 3, (12, 16)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "text", "stored"),
    [
        ("classes.txt", "soil\nweed\ncrop\n", LABELS),
        ("classes.txt", "0 soil\n1 weed\n2 crop\n", LABELS),
        ("obj.names", "soil\nweed\ncrop\n", LABELS),
        ("data.yaml", "names: [soil, weed, crop]\n", LABELS),
        ("masks/_classes.csv", "Pixel Value, Class\n10, soil\n20, weed\n30, crop\n", LABELS * 10 + 10),
        ("labelmap.txt", "soil:0,0,0::\nweed:9,8,7::\ncrop:250,0,3::\n", LABELS),  # the masks hold ids, not colours
    ],
)
def test_names_come_from_a_table_beside_the_data(name: str, text: str, stored: np.ndarray, tmp_path: Path) -> None:
    root = folder_of(tmp_path, stored)
    with pytest.raises(DataError, match=r"no class names: data.classes says none, and none of labelmap.txt"):
        ImageMasks(None, root)
    (tmp_path / name).write_text(text)
    dataset = ImageMasks(None, root)
    assert dataset.classes == ("soil", "weed", "crop")
    assert any(name in note for note in dataset.notes)
    np.testing.assert_array_equal(dataset[0].label_map, LABELS)


@pytest.mark.parametrize("kind", ["RGB", "P", "RGBA"])
def test_colours_in_every_storage(kind: str, tmp_path: Path) -> None:
    colors = {"soil": [0, 0, 0], "weed": [9, 8, 7], "crop": [250, 0, 3]}
    root = folder_of(tmp_path, LABELS)
    picture = Image.fromarray(np.array(list(colors.values()), np.uint8)[LABELS])
    if kind == "P":
        picture = Image.fromarray(LABELS)
        picture.putpalette([value for color in colors.values() for value in color])
    picture.convert(kind).save(tmp_path / "masks/a.png")
    np.testing.assert_array_equal(ImageMasks(None, root, colors=colors)[0].label_map, LABELS)


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    root = folder_of(tmp_path, LABELS)
    (tmp_path / "_classes.csv").write_text("filename, cat\na.png, yes\n")
    with pytest.raises(DataError, match=r"_classes.csv: wanted rows 'value, class', found 'a.png"):
        ImageMasks(None, root)
    (tmp_path / "_classes.csv").unlink()
    (tmp_path / "classes.txt").write_text("soil\nsoil\n")
    with pytest.raises(DataError, match="names soil more than once"):
        ImageMasks(None, root)
