"""Every fault of boxes and their files, planted alone in a sound data set, is the one thing that is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from broken_data import GOOD, MAKERS, coco_content, make_coco, make_voc, make_yolo, only, picture, save, scanned
from broken_data import voc_xml as xml
from broken_data import yolo_text as text

from toolkit.preflight.findings import Fact

LAYOUTS = ["coco", "voc", "yolo"]
IMAGES = {"coco": "train/k1.jpg", "voc": "JPEGImages/v1.jpg", "yolo": "images/train/y1.jpg"}


def with_objects(layout: str, root: Path, objects: list[tuple[Any, ...]]) -> Path:
    """The data set with these objects in image 1 of train; the image's path."""
    MAKERS[layout](root)
    if layout == "voc":  # one-based, inclusive
        one_based = [(name, x1 + 1, y1 + 1, x2, y2) for name, x1, y1, x2, y2 in objects]
        (root / "Annotations/v1.xml").write_text(xml("v1", one_based))
    elif layout == "yolo":
        (root / "labels/train/y1.txt").write_text(text(objects))
    else:
        content = coco_content(range(6))
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] != 1]
        for number, (name, x1, y1, x2, y2) in enumerate(objects):
            category = ["ground", "thing", "other"].index(name) + 1
            content["annotations"].append(
                {"id": 900 + number, "image_id": 1, "category_id": category, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            )
        (root / "train.json").write_text(json.dumps(content))
    return root / IMAGES[layout]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("box", "kind"),
    [
        (("thing", 50, 50, 40, 70), "boxes_without_area"),
        (("thing", 50, 50, 50, 50), "boxes_without_area"),
        (("thing", 100, 50, 190, 90), "boxes_outside_their_image"),
        (("thing", -30, 50, 20, 90), "boxes_outside_their_image"),
    ],
)
def test_boxes_without_area_or_outside(layout: str, box: tuple[Any, ...], kind: str, tmp_path: Path) -> None:
    image = with_objects(layout, tmp_path, [*GOOD, box])
    report = scanned(layout, tmp_path)
    found = only(report)
    assert (found.kind, found.severity, found.number, found.files) == (kind, "error", 1, (str(image),))
    assert ("both must be positive" if "area" in kind else "leaves its image of") in found.problem.message
    assert "fix_boxes: " in found.problem.suggestion
    assert report.facts[0] == Fact("read", "train: 6 samples, 1 bad")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_duplicate_boxes(layout: str, tmp_path: Path) -> None:
    image = with_objects(layout, tmp_path, [*GOOD, GOOD[1]])
    found = only(scanned(layout, tmp_path))
    assert (found.kind, found.severity, found.files) == ("duplicate_box", "warning", (str(image),))
    assert found.problem.message == (
        f"1 box repeating another of the same class and place, in 1 image: {IMAGES[layout]} thing [30, 20, 100, 90]"
    )


def test_boxes_that_all_but_cover_one_another(tmp_path: Path) -> None:
    with_objects("voc", tmp_path, [*GOOD, ("thing", 31, 20, 100, 91), ("other", 30, 20, 100, 90)])
    found = only(scanned("voc", tmp_path))
    assert (found.kind, found.number) == ("doubled_box", 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tiny_boxes(layout: str, tmp_path: Path) -> None:
    with_objects(layout, tmp_path, [*GOOD, ("other", 8, 8, 9, 10)])
    found = only(scanned(layout, tmp_path))
    assert found.kind == "tiny_box"
    assert found.problem.message.startswith("1 box with a side below 3 pixels, in 1 image: ")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_image_without_boxes_is_background_and_said(layout: str, tmp_path: Path) -> None:
    image = with_objects(layout, tmp_path, [])
    found = only(scanned(layout, tmp_path))
    assert (found.kind, found.severity, found.files) == ("empty_annotation", "warning", (str(image),))
    assert found.problem.message == f"1 of 6 images have no box: {IMAGES[layout]}"


def test_an_unknown_category_id(tmp_path: Path) -> None:
    make_coco(tmp_path)
    content = coco_content(range(6))
    content["annotations"][4]["category_id"] = 77
    (tmp_path / "train.json").write_text(json.dumps(content))
    found = only(scanned("coco", tmp_path))
    assert (found.kind, found.files) == ("annotations_of_unknown_categories", (str(tmp_path / "train/k1.jpg"),))
    assert found.problem.message == "category_id 77 is not among the file's categories"


def test_an_unknown_class_in_a_yolo_file(tmp_path: Path) -> None:
    make_yolo(tmp_path)
    (tmp_path / "labels/train/y2.txt").write_text("7 0.5 0.5 0.2 0.2\n" + text(GOOD))
    found = only(scanned("yolo", tmp_path))
    assert (found.kind, found.files) == ("unknown_classes", (str(tmp_path / "images/train/y2.jpg"),))
    assert found.problem.message == "class 7, but the 3 classes are 0..2"


def test_a_coco_image_that_is_not_there(tmp_path: Path) -> None:
    make_coco(tmp_path)
    (tmp_path / "train/k3.jpg").unlink()
    found = only(scanned("coco", tmp_path))
    assert (found.kind, found.files) == ("missing_image_files", (str(tmp_path / "train/k3.jpg"),))


@pytest.mark.parametrize("name", ["../val/k7.jpg", "/etc/hostname", "C:\\pictures\\k1.jpg", "a/../../k1.jpg"])
def test_a_coco_file_name_that_leads_out_of_the_images_folder(name: str, tmp_path: Path) -> None:
    make_coco(tmp_path)
    content = coco_content(range(6))
    content["images"][2]["file_name"] = name
    (tmp_path / "train.json").write_text(json.dumps(content))
    found = next(one for one in scanned("coco", tmp_path).findings if "lead_out" in one.kind)
    assert found.severity == "error"
    assert (
        found.problem.message == f"file_name '{name}' leads out of the images' folder {(tmp_path / 'train').absolute()}"
    )


def test_voc_without_xml_and_xml_without_image(tmp_path: Path) -> None:
    make_voc(tmp_path)
    (tmp_path / "Annotations/v1.xml").unlink()
    (tmp_path / "JPEGImages/v2.jpg").unlink()
    found = {one.kind: one for one in scanned("voc", tmp_path).findings}
    assert set(found) == {"images_without_an_annotation_file", "missing_image_files"}
    assert found["images_without_an_annotation_file"].files == (str(tmp_path / "JPEGImages/v1.jpg"),)
    assert "has no image 'v2.jpg'" in found["missing_image_files"].problem.message


@pytest.mark.parametrize(
    ("data", "kind"), [(b"", "empty_annotation_files"), (b"<annotation><obj", "annotation_files_that_are_no_XML")]
)
def test_voc_annotation_files_that_cannot_be_read(data: bytes, kind: str, tmp_path: Path) -> None:
    make_voc(tmp_path)
    (tmp_path / "Annotations/v1.xml").write_bytes(data)
    found = only(scanned("voc", tmp_path))
    assert (found.kind, found.files) == (kind, (str(tmp_path / "JPEGImages/v1.jpg"),))


def test_yolo_labels_without_image_and_images_without_labels(tmp_path: Path) -> None:
    make_yolo(tmp_path)
    (tmp_path / "labels/train/y1.txt").unlink()
    (tmp_path / "labels/train/nobody.txt").write_text(text(GOOD))
    found = {one.kind: one for one in scanned("yolo", tmp_path).findings}
    assert set(found) == {"empty_annotation", "unlisted_label"}
    assert found["unlisted_label"].problem.message == "1 label file(s) of no image: nobody.txt"


def test_an_image_of_another_size_than_annotated(tmp_path: Path) -> None:
    make_voc(tmp_path)
    save(tmp_path / "JPEGImages/v1.jpg", picture(1, (90, 128)))
    found = only(scanned("voc", tmp_path))
    assert (found.kind, found.files) == ("image_size", (str(tmp_path / "JPEGImages/v1.jpg"),))


def test_mended_boxes_are_counted(tmp_path: Path) -> None:
    with_objects("voc", tmp_path, [*GOOD, ("thing", 100, 50, 190, 90)])
    found = only(scanned("voc", tmp_path, fix_boxes="clip"))
    assert found.problem.message == "1 boxes were clipped to their image and 0 dropped (fix_boxes)"


def test_many_faulty_boxes_are_one_finding_with_all_their_images(tmp_path: Path) -> None:
    make_coco(tmp_path)
    content = coco_content(range(6))
    for one in content["annotations"]:
        if one["image_id"] != 0:
            one["bbox"] = [10, 10, -5, 8]
    (tmp_path / "train.json").write_text(json.dumps(content))
    found = only(scanned("coco", tmp_path))
    assert (found.number, len(found.files)) == (15, 5)
    assert found.problem.message.startswith("15 boxes without area: ")
    assert "; and 12 more" in found.problem.message


def test_statistics_of_objects(tmp_path: Path) -> None:
    numbers = scanned("voc", make_voc(tmp_path)).as_json()["statistics"]["data"]["train"]
    assert numbers["classes"]["thing"] == {"images": 6, "boxes": 6}
    boxes = numbers["boxes"]
    # 56x46 and 50x70 + ... in pixels: ground 56*46 = 2576, thing 71*71 = 5041, other 51*71 = 3621, all medium
    assert (boxes["number"], boxes["small"], boxes["medium"], boxes["large"]) == (18, 0, 18, 0)
    assert boxes["per_image"] == [3.0, 3.0, 3.0]
