"""Data sets in another form and back: exact where the format allows it, each loss named, nothing written into the source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_data import CLASSES, make_pairs, make_voc, picture, save
from click.testing import CliRunner

from toolkit.cli.main import command_line
from toolkit.config.dataset import dataset_part
from toolkit.contracts import Dataset
from toolkit.data.datasets.coco import CocoDataset
from toolkit.data.datasets.coco_masks import CocoMasks
from toolkit.data.datasets.image_masks import ImageMasks
from toolkit.data.datasets.voc import VocDataset
from toolkit.errors import ConfigError
from toolkit.jobs.build_part import build_part
from toolkit.jobs.convert import WRITERS, convert

SQUARE, HOLE = [(10.5, 8), (90.25, 8), (90.25, 70), (10.5, 70)], [(30, 20), (50, 20), (50, 40.5), (30, 40.5)]


def again(result: dict[str, Any], split: str = "train", **more: Any) -> Dataset:
    """The written set, as the data set that the result names reads it."""
    arguments = {**result["datasets"][split], **more}
    name, root = arguments.pop("name"), Path(arguments.pop("root"))
    part, classes = dataset_part(name, root, [f"{key}={value}" for key, value in arguments.items()])
    return build_part(part, **({} if classes is None else {"classes": classes}))


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def same_boxes(one: Dataset, other: Dataset, within: float) -> None:
    assert len(one) == len(other)
    for first, second in zip(one, other, strict=True):
        assert first.boxes is not None
        assert second.boxes is not None
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_allclose(first.boxes.xyxy, second.boxes.xyxy, atol=within)
        assert [one.classes[n] for n in first.boxes.labels] == [other.classes[n] for n in second.boxes.labels]


@pytest.mark.parametrize(("form", "within"), [("coco", 0.0), ("yolo", 1e-4), ("labelme", 0.0), ("voc", 0.5)])
def test_boxes_go_there_and_back(tmp_path: Path, form: str, within: float) -> None:
    source = boxes_with_fractions(tmp_path / "source")
    before = files_of(tmp_path / "source")
    result = convert({"train": source}, tmp_path / "new", form, shown=False)
    same_boxes(source, again(result), within)
    assert files_of(tmp_path / "source") == before
    told = [one["what"] for one in result["lost"]]
    assert any("rounded to whole pixels" in what for what in told) is (form == "voc")
    assert any("ids of images" in what for what in told) is (form != "coco")
    assert any("crowd" in what for what in told) is (form in ("voc", "yolo"))
    assert result["written"] == len(files_of(tmp_path / "new"))


def boxes_with_fractions(root: Path) -> CocoDataset:
    """Three images, 96x128: boxes at fractions of pixels, one a crowd, an image without any; ids of their own."""
    for number in range(3):
        save(root / "pictures" / f"p{number}.jpg", picture(number))
    images = [{"id": 70 + n, "file_name": f"p{n}.jpg", "height": 96, "width": 128} for n in range(3)]
    rows = [(70, 9, [3.25, 4.75, 20.5, 30.125], 0), (70, 4, [50, 60, 11, 12], 0), (71, 4, [0, 0, 127.6, 95.5], 1)]
    content = {
        "images": images,
        "categories": [{"id": 4, "name": "cat"}, {"id": 9, "name": "tall dog"}],
        "annotations": [
            {"id": n, "image_id": image, "category_id": kind, "bbox": box, "iscrowd": crowd, "area": box[2] * box[3],
             "segmentation": []} for n, (image, kind, box, crowd) in enumerate(rows, 1)
        ],
    }  # fmt: skip
    (root / "all.json").write_text(json.dumps(content))
    return CocoDataset(str(root), "all.json", "pictures")


def test_ids_of_coco_stay(tmp_path: Path) -> None:
    result = convert({"train": boxes_with_fractions(tmp_path / "a")}, tmp_path / "b", "coco", shown=False)
    written = json.loads((tmp_path / "b" / "annotations" / "instances_train.json").read_text())
    assert [image["id"] for image in written["images"]] == [70, 71, 72]
    assert {one["name"]: one["id"] for one in written["categories"]} == {"cat": 4, "tall dog": 9}
    assert [one["iscrowd"] for one in written["annotations"]] == [0, 0, 1]
    assert result["lost"] == []


def test_whole_pixels_of_voc_come_back_exactly_with_their_flags(tmp_path: Path) -> None:
    source = voc(tmp_path / "voc")
    result = convert({"train": source}, tmp_path / "new", "voc", shown=False)
    found = again(result)
    same_boxes(source, found, 0.0)
    for one, other in zip(source, found, strict=True):
        np.testing.assert_array_equal(one.boxes.difficult, other.boxes.difficult)  # type: ignore[union-attr]
    assert result["lost"] == []


def voc(root: Path) -> VocDataset:
    make_voc(root)
    return VocDataset(str(root), "train")


@pytest.mark.parametrize("form", ["masks", "voc", "coco", "yolo", "labelme"])
def test_label_maps_come_back_to_the_pixel(tmp_path: Path, form: str) -> None:
    make_pairs(tmp_path / "source", 4, 0)
    names = ["background", "thing", "other"]
    source = ImageMasks(names, str(tmp_path / "source"))
    result = convert({"train": source}, tmp_path / "new", form, shown=False)
    found = again(result, **({"classes": names} if form in ("masks", "voc") else {}))
    for one, other in zip(source, found, strict=True):
        assert one.label_map is not None
        assert other.label_map is not None
        np.testing.assert_array_equal(one.image, other.image)
        where = [found.classes.index(name) for name in names] + [0] * 252 + [255]
        np.testing.assert_array_equal(np.array(where, np.uint8)[one.label_map], other.label_map)


def outlines(root: Path) -> CocoMasks:
    """Polygons that overlap, one of two pieces, run lengths, and one crowd region."""
    save(root / "a.jpg", picture(0))
    polygons = [[[10.5, 8, 90.25, 8, 90.25, 70, 10.5, 70]], [[30, 20, 50, 20, 50, 40.5], [60, 20, 80, 22, 70, 60]]]
    runs = {"size": [96, 128], "counts": [96 * 100 + 10, 30, 66, 30, 96 * 128 - 96 * 100 - 136]}
    rows = [(1, polygons[0], 0), (2, polygons[1], 0), (2, runs, 0), (1, runs, 1)]
    content = {
        "images": [{"id": 5, "file_name": "a.jpg", "height": 96, "width": 128}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": n, "image_id": 5, "category_id": kind, "segmentation": shape, "iscrowd": crowd, "area": 1,
             "bbox": [0, 0, 9, 9]} for n, (kind, shape, crowd) in enumerate(rows, 1)
        ],
    }  # fmt: skip
    (root / "all.json").write_text(json.dumps(content))
    return CocoMasks(str(root), "all.json", ".")


@pytest.mark.parametrize("form", ["masks", "voc", "coco", "yolo", "labelme"])
def test_outlines_draw_the_same_label_map_again(tmp_path: Path, form: str) -> None:
    source = outlines(tmp_path / "source")
    result = convert({"train": source}, tmp_path / "new", form, shown=False)
    names = list(source.classes)
    found = again(result, **({"classes": names} if form in ("masks", "voc") else {}))
    where = np.array([found.classes.index(name) for name in names], np.uint8)
    assert source[0].label_map is not None
    assert found[0].label_map is not None
    np.testing.assert_array_equal(where[source[0].label_map], found[0].label_map)
    told = " ".join(one["what"] for one in result["lost"])
    for word, forms in {"several pieces": ("yolo",), "pixels of their class": ("masks", "voc")}.items():
        assert (word in told) is (form in forms)


def test_splits_share_names_and_none_is_overwritten(tmp_path: Path) -> None:
    for split in ("train", "val"):
        make_pairs(tmp_path / split, 2, 0)
    datasets = {split: ImageMasks(CLASSES, str(tmp_path / split)) for split in ("train", "val")}
    for form in WRITERS:
        result = convert(datasets, tmp_path / form, form, shown=False)
        assert result["images"] == 4
        pictures = list((tmp_path / form).rglob("*.jpg"))
        assert len(pictures) == 4


def test_boxes_are_no_pixels_and_folders_are_not_overwritten(tmp_path: Path) -> None:
    source = boxes_with_fractions(tmp_path / "source")
    with pytest.raises(ConfigError):
        convert({"train": source}, tmp_path / "new", "masks", shown=False)
    assert not (tmp_path / "new").exists()
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "a.txt").write_text("mine")
    for place in (tmp_path / "used", tmp_path / "source" / "new"):
        with pytest.raises(ConfigError):
            convert({"train": source}, place, "coco", shown=False)


def test_the_verb_reads_a_folder_as_a_data_set_and_says_what_is_lost(tmp_path: Path) -> None:
    boxes_with_fractions(tmp_path / "source")
    command = ["convert", str(tmp_path / "source"), str(tmp_path / "new"), "--to", "voc", "--from", "coco",
               "annotations=all.json", "images=pictures", "--json"]  # fmt: skip
    result = CliRunner().invoke(command_line, command)
    assert result.exception is None
    found = json.loads(result.stdout)
    assert found["images"] == 3
    assert {one["file"] for one in found["lost"]} >= {"Annotations/p0.xml"}
    with pytest.raises(ConfigError):
        dataset_part("coco", tmp_path, ["anotations=all.json"])


def test_a_folder_is_converted_as_what_it_is_recognised_as(tmp_path: Path) -> None:
    make_pairs(tmp_path / "source", 4, 0)
    for name in ("train.txt", "val.txt"):
        (tmp_path / "source" / name).unlink()
    command = ["convert", str(tmp_path / "source"), str(tmp_path / "new"), "--to", "labelme", "--json"]
    result = CliRunner().invoke(command_line, command)
    assert result.exception is None
    found = json.loads(result.stdout)
    assert found["datasets"].keys() == {"train"}
    assert len(again(found)) == found["images"] == 4
