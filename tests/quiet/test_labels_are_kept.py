"""Labels neither vanish nor change in silence: what belongs to no image stops, what does leaves the whole image out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toolkit.contracts import Dataset
from toolkit.data.datasets.coco import CocoDataset
from toolkit.data.datasets.image_masks import ImageMasks
from toolkit.data.datasets.voc import VocDataset
from toolkit.data.datasets.yolo import YoloDataset
from toolkit.data.faults.leaving_out import Fault, leaving_out
from toolkit.errors import DataError
from toolkit.preflight.data.readings import note_readings
from toolkit.preflight.findings import Report

SIZE = (40, 60)
BOXES = [[4, 5, 20, 12], [30, 10, 16, 20], [8, 22, 12, 9]]
CLASSES = ["cup", "leaf"]


def picture(path: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)).save(path)
    return path


def coco(root: Path, images: int = 3) -> dict[str, Any]:
    """Three boxes an image, of cup, leaf, cup; the images are written, the JSON is for the test to break and write."""
    content: dict[str, Any] = {
        "images": [], "annotations": [], "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "leaf"}],
    }  # fmt: skip
    for image in range(images):
        picture(root / f"{image}.png", image)
        content["images"].append({"id": 10 + image, "file_name": f"{image}.png", "height": SIZE[0], "width": SIZE[1]})
        for number, box in enumerate(BOXES):
            entry = {"id": 100 * image + number + 1, "image_id": 10 + image, "category_id": 1 + number % 2, "bbox": box}
            content["annotations"].append(entry)
    return content


def read(root: Path, content: dict[str, Any], **options: Any) -> CocoDataset:
    (root / "a.json").write_text(json.dumps(content))
    return CocoDataset(str(root), "a.json", **options)


def leniently(root: Path, content: dict[str, Any], **options: Any) -> tuple[CocoDataset, list[Fault]]:
    with leaving_out() as faults:
        return read(root, content, **options), faults


def box_counts(dataset: CocoDataset) -> list[int]:
    return dataset.index.class_counts(len(dataset.classes)).tolist()


def test_annotation_ids_serve_nothing(tmp_path: Path) -> None:
    content = coco(tmp_path)
    for entry in content["annotations"]:
        del entry["id"]
    for dataset in (read(tmp_path, content), leniently(tmp_path, content)[0]):
        assert box_counts(dataset) == [6, 3]
        assert not dataset.notes
    for entry in content["annotations"]:
        entry["id"] = 7
    dataset = read(tmp_path, content)
    assert box_counts(dataset) == [6, 3]
    assert "8 annotation ids stand more than once" in dataset.notes[0]


@pytest.mark.parametrize("as_text", [str, lambda number: f"{number:03d}", float, lambda number: f"p{number}"])
def test_ids_join_whatever_they_are(as_text: Any, tmp_path: Path) -> None:
    content = coco(tmp_path)
    for row in content["images"]:
        row["id"] = as_text(row["id"])
    for row in content["annotations"]:
        row["image_id"], row["category_id"] = as_text(row["image_id"]), as_text(row["category_id"])
    for row in content["categories"]:
        row["id"] = as_text(row["id"])
    dataset = read(tmp_path, content)
    assert dataset.classes == ("cup", "leaf")
    assert [dataset[image].boxes.labels.tolist() for image in range(3)] == [[0, 1, 0]] * 3  # type: ignore[union-attr]
    is_number = not str(as_text(1)).startswith("p")
    assert dataset.index.image_ids.tolist() == ([10, 11, 12] if is_number else [1, 2, 3])
    assert bool(dataset.notes) != is_number


def test_a_category_name_that_stands_twice_stops_with_skip_too(tmp_path: Path) -> None:
    content = coco(tmp_path)
    content["categories"].append({"id": 3, "name": "cup"})
    content["annotations"][0]["category_id"] = 3
    with pytest.raises(DataError, match="category name 'cup' occurs more than once"):
        leniently(tmp_path, content)


@pytest.mark.parametrize("change", [
    {"category_id": None}, {"category_id": 9}, {"category_id": "stone"}, {"bbox": [1, 2, 3]}, {"bbox": None}, {"bbox": "x"},
    {"iscrowd": "yes"}, {"bbox": [50, 30, 40, 40]}, {"bbox": [5, 5, 0, 9]}, {"bbox": [float("nan"), 1, 2, 3]},
])  # fmt: skip
def test_an_image_is_left_out_whole_or_not_at_all(change: dict[str, Any], tmp_path: Path) -> None:
    content = coco(tmp_path)
    content["annotations"][4].update(change)  # the middle box of the middle image
    with pytest.raises(DataError):
        read(tmp_path, content)
    dataset, faults = leniently(tmp_path, content)
    assert [dataset.index.names[place] for place in range(len(dataset))] == ["0.png", "2.png"]
    assert box_counts(dataset) == [4, 2]
    assert [name for fault in faults for name in fault.names] == ["1.png"]


@pytest.mark.parametrize("change", [{"image_id": 99}, {"image_id": None}, {"image_id": "x"}])
def test_an_annotation_of_no_image_stops_with_skip_too(change: dict[str, Any], tmp_path: Path) -> None:
    content = coco(tmp_path)
    content["annotations"][4].update(change)
    with pytest.raises(DataError, match="annotation 102"):
        leniently(tmp_path, content)


def test_when_every_image_is_at_fault_the_reason_is_told(tmp_path: Path) -> None:
    content = coco(tmp_path)
    for entry in content["annotations"]:
        entry["bbox"] = entry["bbox"][:3]
    with pytest.raises(DataError) as caught:
        leniently(tmp_path, content)
    assert "something is wrong with every one of its 3 images" in str(caught.value)
    assert "annotation 1 (image 10): 'bbox' is [4, 5, 20], wanted four numbers" in str(caught.value)


@pytest.mark.parametrize("kind", ["polygons", "run lengths", "compressed"])
def test_a_missing_box_is_taken_from_the_outline(kind: str, tmp_path: Path) -> None:
    from pycocotools import mask as coco_mask

    whole, content = read(tmp_path, coco(tmp_path)), coco(tmp_path)
    for entry in content["annotations"]:
        x, y, width, height = entry.pop("bbox")
        area = np.zeros(SIZE, np.uint8)
        area[y : y + height, x : x + width] = 1
        packed = coco_mask.encode(np.asfortranarray(area))
        runs = np.diff(np.flatnonzero(np.diff(area.ravel("F"), prepend=0, append=0)), prepend=0)
        entry["segmentation"] = {
            "polygons": [[x, y, x + width, y, x + width, y + 1], [x, y + height, x + 1, y + height, x, y]],
            "run lengths": {"size": list(SIZE), "counts": [*runs.tolist(), area.size - int(runs.sum())]},
            "compressed": {"size": list(SIZE), "counts": packed["counts"].decode()},
        }[kind]
    dataset = read(tmp_path, content)
    np.testing.assert_array_equal(dataset.index.xyxy, whole.index.xyxy)
    assert "9 annotations have no 'bbox'; it was taken from their outlines" in dataset.notes[0]


def test_one_file_may_lack_a_class_but_not_all(tmp_path: Path) -> None:
    content = coco(tmp_path)
    dataset = read(tmp_path, content, classes=["leaf", "cup", "bolt"])
    assert box_counts(dataset) == [3, 6, 0]
    assert "its categories lack bolt" in dataset.notes[0]
    whole = read(tmp_path, {**content, "categories": [*content["categories"], {"id": 5, "name": "bolt"}]})
    report = Report()
    note_readings(report, {"train": whole, "val": dataset})
    assert not report.errors
    note_readings(report, {"train": dataset, "val": dataset})
    assert [problem.message for problem in report.errors] == ["class 'bolt' of the list is in the files of no split"]


def masks(root: Path, count: int = 3) -> Path:
    for number in range(count):
        picture(root / f"images/{number}.png", number)
        label_map = np.random.default_rng(number).integers(0, 2, SIZE).astype(np.uint8)
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(label_map).save(root / f"masks/{number}.png")
    return root


def pairs(root: Path, **options: Any) -> ImageMasks:
    return ImageMasks(CLASSES, str(root), **options)


def test_pages_that_are_not_read_are_said(tmp_path: Path) -> None:
    masks(tmp_path)
    pages = [Image.new("RGB", SIZE[::-1], (shade, 0, 0)) for shade in (1, 2, 3)]
    (tmp_path / "images/0.png").unlink()
    pages[0].save(tmp_path / "images/0.tif", save_all=True, append_images=pages[1:])
    assert "2 of 3 pages of images/0.tif are not used" in pairs(tmp_path).notes[0]
    content = coco(tmp_path / "c")
    content["images"][0]["file_name"] = "0.tif"
    pages[0].save(tmp_path / "c/0.tif", save_all=True, append_images=pages[1:])
    assert "2 of 3 pages of c/0.tif" in read(tmp_path / "c", content).notes[0]


def test_links_formats_and_pipes_that_are_not_read_are_said(tmp_path: Path) -> None:
    masks(tmp_path)
    (tmp_path / "images/broken.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "images/up").symlink_to(tmp_path / "images", target_is_directory=True)
    (tmp_path / "images/3.psd").write_bytes(b"x")
    import os

    os.mkfifo(tmp_path / "images/pipe.png")
    dataset = pairs(tmp_path)
    assert len(dataset) == 3
    said = "\n".join(dataset.notes)
    for words in (
        "1 left out of", "links that lead nowhere: broken.png", "links to a folder that they lie in: up",
        "pipes or devices, which are no files: pipe.png", "a format that is not read (.psd)",
    ):  # fmt: skip
        assert words in said


def test_a_folder_that_may_not_be_opened_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    masks(tmp_path)
    (tmp_path / "images/locked").mkdir()
    scan = os.scandir

    def refusing(path: Any) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert any("folders that may not be opened: locked" in note for note in pairs(tmp_path).notes)


def test_linked_folders_are_read(tmp_path: Path) -> None:
    masks(tmp_path / "set")
    for kind in ("images", "masks"):
        (tmp_path / "all" / kind).mkdir(parents=True)
        (tmp_path / "all" / kind / "day").symlink_to(tmp_path / "set" / kind, target_is_directory=True)
    assert [pair.key for pair in pairs(tmp_path / "all").pairs] == ["day/0", "day/1", "day/2"]


def test_an_empty_annotation_is_said(tmp_path: Path) -> None:
    for number in range(2):
        picture(tmp_path / f"train/{number}.jpg", number)
        (tmp_path / f"train/{number}.xml").write_text("<annotation/>")
    dataset = VocDataset(str(tmp_path), "train", CLASSES)
    assert "1.xml" in dataset.notes[0] or "0.xml and 1 more" in dataset.notes[0]
    assert "holds nothing counts as background" in dataset.notes[0]


def yolo(root: Path, lines: list[str]) -> YoloDataset:
    for number, line in enumerate(lines):
        picture(root / f"images/train/{number}.png", number)
        (root / "labels/train").mkdir(parents=True, exist_ok=True)
        if line:
            (root / f"labels/train/{number}.txt").write_text(line)
    return YoloDataset(str(root), "train", CLASSES)


def test_images_without_a_label_file_are_counted(tmp_path: Path) -> None:
    dataset = yolo(tmp_path, ["0 .5 .5 .2 .2", "", ""])
    assert "2 of 3 images have no label file and count as background" in dataset.notes[0]


def test_outlines_of_yolo_give_their_boxes(tmp_path: Path) -> None:
    dataset = yolo(tmp_path, ["1 .1 .2 .5 .2 .3 .8"])
    np.testing.assert_allclose(dataset.index.xyxy, [[0.1, 0.2, 0.5, 0.8]], atol=1e-6)
    assert "1 lines are outlines; the boxes around them are taken" in dataset.notes[0]


def test_images_of_a_list_that_are_missing_are_left_out_by_name(tmp_path: Path) -> None:
    yolo(tmp_path, ["0 .5 .5 .2 .2", "0 .5 .5 .2 .2"])
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [cup, leaf]\n")
    (tmp_path / "train.txt").write_text("images/train/0.png\nimages/train/9.png\n")
    with pytest.raises(DataError, match=r"no file .*9\.png"):
        YoloDataset(str(tmp_path), "train")
    with leaving_out() as faults:
        assert len(YoloDataset(str(tmp_path), "train")) == 1
    assert faults[0].names == ("images/train/9.png",)


def emptied(kind: str, root: Path) -> Dataset:
    if kind == "boxes":
        return read(root, {**coco(root), "annotations": []})
    if kind == "crowds":
        content = coco(root)
        return read(root, {**content, "annotations": [{**one, "iscrowd": 1} for one in content["annotations"]]})
    masks(root)
    for number in range(3):
        Image.fromarray(np.full(SIZE, 255, np.uint8)).save(root / f"masks/{number}.png")
    return ImageMasks([*CLASSES, "bolt"], str(root))


@pytest.mark.parametrize("kind", ["boxes", "crowds", "masks"])
def test_a_split_without_a_single_target(kind: str, tmp_path: Path) -> None:
    tmp_path.joinpath("d").mkdir()
    empty = emptied(kind, tmp_path / "d")
    report = Report()
    note_readings(report, {"val": empty}, "the last weights are kept")
    assert not report.errors
    assert report.warnings[0].message.endswith("every metric will be undefined; the last weights are kept")
    note_readings(report, {"train": empty})
    assert "there is nothing to learn" in report.errors[0].message


def test_a_split_with_a_target_says_nothing(tmp_path: Path) -> None:
    report = Report()
    note_readings(report, {"train": pairs(masks(tmp_path / "m")), "val": read(tmp_path, coco(tmp_path))})
    assert not report.findings
