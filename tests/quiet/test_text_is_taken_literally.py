"""Names are names: brackets, signs, blanks and Unicode forms of a user's files are not taken for syntax."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.data.datasets.coco import CocoDataset
from toolkit.data.datasets.image_masks import ImageMasks
from toolkit.data.datasets.voc import VocDataset
from toolkit.data.datasets.yolo import YoloDataset
from toolkit.errors import DataError

SIZE = (16, 24)
NAMES = ["weed (272)", "a", "b", "#tagged", "x,y"]
BOX = "<object><name>cup</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"


def put(path: Path, seed: int, gray: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(seed)
    Image.fromarray(
        numbers.integers(0, 2, SIZE).astype(np.uint8) if gray else numbers.integers(0, 255, (*SIZE, 3), np.uint8)
    ).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "set [2024] v1"
    for seed, name in enumerate(NAMES):
        put(folder / f"images/train/{name}.png", seed)
        put(folder / f"masks/train/{name}.png", seed, gray=True)
    return folder


def keys(root: Path, lines: list[str] | None = None, **options: str) -> list[str]:
    if lines is not None:
        (root / "list.txt").write_text("\n".join(lines), encoding="utf-8")
        options["split"] = "list.txt"
    folders = {"images": "images/train", "masks": "masks/train"}
    return [pair.key for pair in ImageMasks(["no", "yes"], str(root), **{**folders, **options}).pairs]


def test_a_folder_that_exists_is_no_pattern(root: Path) -> None:
    assert keys(root) == sorted(NAMES)
    assert keys(root, images="images/*/*.png", masks="masks/*/*.png") == sorted(f"train/{name}" for name in NAMES)


LISTS = {
    "names": NAMES,
    "names with extensions": [f"{name}.png" for name in NAMES],
    "paths": [f"images/train/{name}.png" for name in NAMES],
    "absolute paths of another machine": [f"/home/me/images/train/{name}.png" for name in NAMES],
    "pairs": [f"images/train/{name}.png masks/train/{name}.png" for name in NAMES],
    "pairs after a tab": [f"{name}.png\t{name}.png" for name in NAMES],
    "back slashes": [f"images\\train\\{name}.png" for name in NAMES],
    "a table": ["image,fold", *(f"{name}.png,{number}" for number, name in enumerate(NAMES))],
    "quoted": [name.replace(" ", "%20").replace("#", "%23") + ".png" for name in NAMES],
    "comments": ["# five", *NAMES],
}


@pytest.mark.parametrize("form", LISTS)
def test_lists_of_other_tools_name_the_same_images(form: str, root: Path) -> None:
    assert keys(root, LISTS[form]) == NAMES


def test_a_list_that_names_other_masks_gets_those(root: Path) -> None:
    put(root / "masks/train/a_gt.png", 9, gray=True)
    (root / "masks/train/a.png").unlink()
    (root / "list.txt").write_text("images/train/a.png masks/train/a_gt.png\nimages/train/b.png masks/train/b.png\n")
    dataset = ImageMasks(["no", "yes"], str(root), "images/train", "masks/train", "list.txt")
    assert [pair.mask.name for pair in dataset.pairs] == ["a_gt.png", "b.png"]
    (root / "masks/train/a_gt.png").unlink()
    with pytest.raises(DataError, match=r"1 image\(s\) of the split have no mask: a"):
        keys(root, ["images/train/a.png masks/train/a_gt.png", "images/train/b.png masks/train/b.png"])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["pictures/c.png labels/c.png", "pictures/d.png labels/d.png"], "each line holds two paths"),
        (["deep\\c.png", "deep\\d.png"], "back slashes"),
        (["c.png,0", "d.png,1"], "rows of a table"),
        (["far/c.png", "far/d.png"], "these are paths"),
    ],
)
def test_a_refused_list_is_told_its_form(lines: list[str], words: str, root: Path) -> None:
    with pytest.raises(DataError, match=words):
        keys(root, lines)


@pytest.mark.parametrize("listed", ["NFC", "NFD"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_unicode_forms_of_a_name_are_one_name(form: str, listed: str, tmp_path: Path) -> None:
    put(tmp_path / "images" / (unicodedata.normalize(form, "café 1") + ".png"), 0)
    put(
        tmp_path / "masks" / (unicodedata.normalize("NFC" if form == "NFD" else "NFD", "café 1") + ".png"), 0, gray=True
    )
    dataset = ImageMasks(["no", "yes"], str(tmp_path))
    assert len(dataset) == 1
    dataset[0]
    (tmp_path / "list.txt").write_text(unicodedata.normalize(listed, "café 1"), encoding="utf-8")
    assert len(ImageMasks(["no", "yes"], str(tmp_path), split="list.txt")) == 1


def voc(root: Path, names: list[str], lines: list[str]) -> VocDataset:
    for seed, name in enumerate(names):
        put(root / f"JPEGImages/{name}.png", seed)
        path = root / f"Annotations/{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<annotation><filename>{Path(name).name}.png</filename>{BOX}</annotation>")
    (root / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
    (root / "ImageSets/Main/train.txt").write_text("\n".join(lines))
    return VocDataset(str(root), "train", ["cup"])


@pytest.mark.parametrize(
    "names", [["my cat 1", "my cat -1"], ["cam1/0001", "cam2/0001"], ["2007_1", "2007_2"], ["a.b", "a.c"]]
)
@pytest.mark.parametrize("column", ["", "  1", " -1", ".xml", ".png"])
def test_voc_lists_name_images_with_blanks_and_below_folders(names: list[str], column: str, tmp_path: Path) -> None:
    dataset = voc(tmp_path, names, [name + column for name in names])
    assert [dataset[place].name for place in range(2)] == [f"JPEGImages/{name}.png" for name in names]
    assert [len(dataset[place].boxes.xyxy) for place in range(2)] == [1, 1]  # type: ignore[union-attr]
    assert not dataset.notes


def test_voc_files_below_folders_are_found_without_a_list(tmp_path: Path) -> None:
    voc(tmp_path, ["day/1", "night/1"], ["day/1"])
    assert len(VocDataset(str(tmp_path), "", ["cup"])) == 2


@pytest.mark.parametrize("stored", ["a b.png", "café.png"])
def test_coco_names_in_another_form(stored: str, tmp_path: Path) -> None:
    put(tmp_path / stored, 0)
    written = {"a b.png": "a%20b.png", "café.png": unicodedata.normalize("NFD", "café.png")}[stored]
    content = {
        "images": [{"id": 1, "file_name": written}], "categories": [{"id": 1, "name": "cup"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [2, 3, 4, 5]}],
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(content))
    dataset = CocoDataset(str(tmp_path), "a.json")
    assert dataset[0].name == stored
    assert "1 names stand in another form on disk" in dataset.notes[0]


def test_yolo_lists_with_back_slashes_and_folders_with_brackets(tmp_path: Path) -> None:
    root = tmp_path / "set [1]"
    for name in ("a b", "#c"):
        put(root / f"images/{name}.png", 0)
        (root / "labels").mkdir(exist_ok=True)
        (root / f"labels/{name}.txt").write_text("0 .5 .5 .2 .2")
    (root / "data.yaml").write_text("train: train.txt\nval: images\nnames: [cup]\n")
    (root / "train.txt").write_text("images\\a b.png\n./images/#c.png\n")
    assert len(YoloDataset(str(root), "train")) == len(YoloDataset(str(root), "val")) == 2


def same_files(root: Path, how: str) -> None:
    put(root / "all/a.png", 0, gray=True)
    put(root / "all/b.png", 1, gray=True)
    if how == "links":
        (root / "masks").mkdir()
        for name in ("a.png", "b.png"):
            (root / "masks" / name).symlink_to(root / "all" / name)
    elif how == "copies":
        for name in ("a.png", "b.png"):
            (root / "masks").mkdir(exist_ok=True)
            (root / "masks" / name).write_bytes((root / "all" / name).read_bytes())


@pytest.mark.parametrize("how", ["one folder", "the root", "links", "copies"])
def test_a_picture_is_not_its_own_mask(how: str, tmp_path: Path) -> None:
    same_files(tmp_path, how)
    place = {"one folder": "all", "the root": "."}.get(how, "masks")
    images = "." if how == "the root" else "all"
    with pytest.raises(DataError, match=r"images and masks are .*2 files: a\.png, b\.png .*mask_suffix"):
        ImageMasks(["no", "yes"], str(tmp_path), images, place)


def test_outlines_beside_the_pictures_are_named(tmp_path: Path) -> None:
    same_files(tmp_path, "one folder")
    (tmp_path / "all/a.json").write_text('{"shapes": []}')
    with pytest.raises(DataError, match=r"outlines of a labelling tool lie there \(a\.json\)"):
        ImageMasks(["no", "yes"], str(tmp_path), "all", "all")
