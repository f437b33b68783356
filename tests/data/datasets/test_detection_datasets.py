"""The coco, voc and yolo data sets: real data in two forms, and one test for every kind of bad file."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from toolkit.data.datasets.coco import CocoDataset
from toolkit.data.datasets.voc import VocDataset
from toolkit.data.datasets.yolo import YoloDataset
from toolkit.data.faults.leaving_out import leaving_out
from toolkit.errors import DataError
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.evaluators.voc import VocEvaluator
from toolkit.samples import Detections, Truth

# --------------------------------------------------------------------------- real data


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("name", ["bccd", "raccoon"])
def test_voc_and_coco_form_hold_the_same_boxes(real_data, name: str, split: str) -> None:
    root = str(real_data(name))
    voc = VocDataset(root, split)
    coco = CocoDataset(root, f"annotations_coco/instances_{split}.json", "JPEGImages")
    assert voc.classes == coco.classes
    assert len(voc) == len(coco)
    places = {coco.index.names[i]: i for i in range(len(coco))}
    for position in range(len(voc)):
        other = places[voc.index.names[position]]
        size = tuple(voc.index.sizes[position].tolist())
        assert size == tuple(coco.index.sizes[other].tolist())
        for one, two in zip(voc.index.boxes(position, size), coco.index.boxes(other, size), strict=True):
            np.testing.assert_array_equal(one, two)
    for position in range(0, len(voc), 40):
        assert voc[position].image.shape[:2] == voc[position].original_size


def test_a_box_of_one_pixel_is_legal(real_data) -> None:
    index = VocDataset(str(real_data("bccd")), "train").index
    extent = index.xyxy[:, 2:] - index.xyxy[:, :2]
    assert extent.min() == 1.0
    assert index.area.size == 2805
    assert index.fixes == (0, 0, 0)


@pytest.mark.parametrize("kind", ["bccd", "crowds"])
def test_truth_scored_against_itself_is_perfect(real_data, kind: str) -> None:
    if kind == "bccd":
        dataset = CocoDataset(str(real_data("bccd")), "annotations_coco/instances_val.json", "JPEGImages")
    else:
        file = "annotations/instances_val2017_from_panoptic.json"
        dataset = CocoDataset(str(real_data("coco_yolo_mini")), file, "images/val2017")
        assert dataset.index.crowd.sum() == 2
    coco, voc = CocoEvaluator(list(dataset.classes)), VocEvaluator(list(dataset.classes))
    for position in range(len(dataset)):
        size = tuple(dataset.index.sizes[position].tolist())
        boxes = dataset.index.boxes(position, size)
        truth = Truth(dataset.index.names[position], int(dataset.index.image_ids[position]), size, boxes=boxes)
        found = Detections(torch.from_numpy(boxes.xyxy), torch.ones(boxes.count), torch.from_numpy(boxes.labels))
        for evaluator in (coco, voc):
            evaluator.update([found], [truth])
    assert coco.compute()["AP"] == pytest.approx(1.0, abs=1e-9)
    assert voc.compute()["mAP@0.5"] == pytest.approx(1.0, abs=1e-9)


def test_coco_ids_with_gaps(real_data) -> None:
    root = real_data("coco_instances_mini")
    dataset = CocoDataset(str(root), "annotations/instances_train2017.json", "images/train2017")
    content = json.loads((root / "annotations/instances_train2017.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert len(dataset.classes) == 80
    assert dataset.category_ids[-1] == 90
    assert 12 not in dataset.category_ids
    assert all(names[number] == name for number, name in zip(dataset.category_ids, dataset.classes, strict=True))
    empty = 0
    for position in range(len(dataset)):
        sample = dataset[position]
        own = [a for a in content["annotations"] if a["image_id"] == sample.image_id]
        assert [dataset.category_ids[label] for label in sample.boxes.labels] == [a["category_id"] for a in own]
        xywh = np.array([a["bbox"] for a in own]).reshape(-1, 4)
        xywh[:, 2:] += xywh[:, :2]
        np.testing.assert_allclose(sample.boxes.xyxy, xywh, atol=0.01)
        np.testing.assert_allclose(sample.boxes.area, [a["area"] for a in own], rtol=1e-6)
        empty += not own
    assert empty == 2
    without = CocoDataset(str(root), "annotations/instances_train2017.json", "images/train2017", keep_empty=False)
    assert len(without) == 9
    assert "2 images without a box were left out" in without.describe()
    turned = CocoDataset(
        str(root), "annotations/instances_train2017.json", "images/train2017", classes=list(dataset.classes)[::-1]
    )
    assert turned.category_ids == dataset.category_ids[::-1]
    for position in range(len(turned)):
        np.testing.assert_array_equal(turned[position].boxes.labels, 79 - dataset[position].boxes.labels)


@pytest.mark.parametrize(("split", "images", "boxes", "empty"), [("train", 26, 181, 1), ("val", 27, 173, 0)])
def test_yolo_mini(real_data, split: str, images: int, boxes: int, empty: int) -> None:
    dataset = YoloDataset(str(real_data("coco_yolo_mini")), split)
    assert (len(dataset), len(dataset.index.labels), len(dataset.classes)) == (images, boxes, 80)
    assert int((np.diff(dataset.index.offsets) == 0).sum()) == empty
    sample = dataset[1]
    text = (real_data("coco_yolo_mini") / sample.name.replace("images", "labels")).with_suffix(".txt").read_text()
    rows = np.array([line.split() for line in text.splitlines()], float)
    height, width = sample.original_size
    np.testing.assert_allclose(sample.boxes.xyxy[:, 0], (rows[:, 1] - rows[:, 3] / 2) * width, atol=0.01)
    np.testing.assert_allclose(sample.boxes.xyxy[:, 3], (rows[:, 2] + rows[:, 4] / 2) * height, atol=0.01)
    np.testing.assert_array_equal(sample.boxes.labels, rows[:, 0])


# --------------------------------------------------------------------------- COCO files made here


def picture(path: Path, size: tuple[int, int] = (24, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1]).save(path)


def coco_content() -> dict:
    return {
        "images": [{"id": 5, "file_name": "a.png", "height": 24, "width": 30}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 3, "bbox": [1, 2, 10, 12], "area": 99, "iscrowd": 0,
             "segmentation": [[1, 2, 3.5, 4e0]]},
            {"id": 2, "image_id": 5, "category_id": 9, "bbox": [0, 0, 30, 24], "area": 720, "iscrowd": 1,
             "segmentation": {"counts": [3, 4], "size": [24, 30]}},
        ],
        "categories": [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}],
    }  # fmt: skip


def coco(root: Path, content, **arguments) -> CocoDataset:
    picture(root / "images/a.png")
    (root / "a.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return CocoDataset(str(root), "a.json", "images", **arguments)


def test_coco_sample(tmp_path: Path) -> None:
    dataset = coco(tmp_path, coco_content())
    sample = dataset[0]
    assert (dataset.classes, dataset.category_ids) == (("cat", "dog"), (3, 9))
    assert (sample.name, sample.image_id, sample.original_size) == ("images/a.png", 5, (24, 30))
    assert sample.boxes.xyxy.tolist() == [[1, 2, 11, 14], [0, 0, 30, 24]]
    assert sample.boxes.labels.tolist() == [0, 1]
    assert sample.boxes.crowd.tolist() == [False, True]
    assert sample.boxes.area.tolist() == [99, 720]


def test_roboflow_layout_and_its_group_category(tmp_path: Path) -> None:
    content = coco_content()
    content["categories"] = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 3, "name": "cat", "supercategory": "animals"},
        {"id": 9, "name": "dog", "supercategory": "animals"},
    ]
    picture(tmp_path / "train/a.png")
    (tmp_path / "train/_annotations.coco.json").write_text(json.dumps(content))
    dataset = CocoDataset(str(tmp_path), "train")
    assert dataset.classes == ("cat", "dog")
    assert dataset[0].name == "train/a.png"
    assert CocoDataset(str(tmp_path), "train", classes=["animals", "cat", "dog"]).category_ids == (0, 3, 9)


def edit(content: dict, section: str, place: int, **values) -> dict:
    content[section][place].update(values)
    return content


BAD_COCO = {
    "outside": (edit(coco_content(), "annotations", 0, bbox=[25, 2, 10, 12]), r"annotation 1 \(a\.png\).*30x24 by 5"),
    "no width": (edit(coco_content(), "annotations", 0, bbox=[1, 2, 0, 12]), "annotation 1.*0 wide"),
    "negative": (edit(coco_content(), "annotations", 0, bbox=[1, 2, 5, -3]), "annotation 1.*-3 high"),
    "nan": (edit(coco_content(), "annotations", 0, bbox=[1, float("nan"), 5, 3]), "annotation 1.*not finite"),
    "infinite": (edit(coco_content(), "annotations", 0, bbox=[1, 2, float("inf"), 3]), "annotation 1"),
    "text": (edit(coco_content(), "annotations", 0, bbox=["1", 2, 5, 3]), "annotation 1.*four numbers"),
    "three": (edit(coco_content(), "annotations", 0, bbox=[1, 2, 5]), "annotation 1.*four numbers"),
    "category": (edit(coco_content(), "annotations", 0, category_id=4), "annotation 1.*category_id 4"),
    "category text": (edit(coco_content(), "annotations", 0, category_id="cat"), "category_id cat is not among"),
    "no category": (edit(coco_content(), "annotations", 0, category_id=None), "'category_id' is missing"),
    "image": (edit(coco_content(), "annotations", 0, image_id=6), "annotation 1.*image_id 6"),
    "no image id": (edit(coco_content(), "images", 0, id=None), "'id' is missing"),
    "area": (edit(coco_content(), "annotations", 0, area="big"), "'area' is 'big'"),
    "same name": (edit(coco_content(), "categories", 0, name="cat"), "category name 'cat' occurs more than once"),
    "missing": (edit(coco_content(), "images", 0, file_name="b.png"), r"none of the 1 image files.*b\.png"),
    "no images": ({**coco_content(), "images": [], "annotations": []}, "holds no images"),
    "results": ([{"image_id": 1, "score": 0.5}], "results"),
    "no section": ({"images": []}, "'annotations' must be a list"),
    "empty": ("", "empty"),
    "truncated": (json.dumps(coco_content(), indent=1)[:500], r"a\.json:\d+:\d+.*cut off"),
    "in outline": (json.dumps(coco_content())[:240], r"a\.json:1:24\d.*cut off"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_COCO)
def test_bad_coco_files(tmp_path: Path, case: str) -> None:
    content, expected = BAD_COCO[case]
    with pytest.raises(DataError, match=expected):
        coco(tmp_path, content)


def test_repeated_image_ids_and_missing_images_are_listed_with_counts(tmp_path: Path) -> None:
    content = coco_content()
    content["images"] += [{"id": 100 + i, "file_name": f"{i}.png", "height": 2, "width": 2} for i in range(30)]
    content["images"][1]["id"] = 5
    with pytest.raises(DataError) as caught:
        coco(tmp_path, content)
    text = str(caught.value)
    assert "image id 5 occurs more than once" in text
    assert "images/0.png does not exist" in text
    assert "20 more missing image files, 30 in all" in text
    assert len(caught.value.problems) == 12
    with pytest.raises(DataError) as caught:
        coco(tmp_path, content, classes=["cat", "cow"])
    assert "class 'cow' of the list is not in the data" in str(caught.value)
    assert "image id 5 occurs more than once" in str(caught.value)


def test_fix_boxes(tmp_path: Path) -> None:
    content = coco_content()
    rows = [[25, 2, 10, 12], [1, 2, 0, 12], [40, 2, 5, 5], [-0.2, 0, 10, 10]]
    content["annotations"] = [{"id": i + 1, "image_id": 5, "category_id": 3, "bbox": box} for i, box in enumerate(rows)]
    clipped = coco(tmp_path, content, fix_boxes="clip")
    assert clipped.index.fixes == (1, 1, 2)
    assert clipped[0].boxes.xyxy.tolist() == [[25, 2, 30, 14], [0, 0, pytest.approx(9.8), 10]]
    assert "1 rounded to the edge, 1 clipped, 2 dropped" in clipped.describe()
    dropped = coco(tmp_path, content, fix_boxes="drop")
    assert dropped.index.fixes == (1, 0, 3)
    assert len(dropped[0].boxes.xyxy) == 1
    with pytest.raises(DataError) as caught:
        coco(tmp_path, content)
    assert len(caught.value.problems) == 3


def test_classes_are_matched_by_name_and_never_dropped(tmp_path: Path) -> None:
    assert coco(tmp_path, coco_content(), classes=["dog", "cat"]).category_ids == (9, 3)
    with pytest.raises(DataError) as caught:
        coco(tmp_path, coco_content(), classes=["Cat", "dog"])
    text = str(caught.value)
    assert "class 'cat' of the data is not in the list" in text
    assert "did you mean 'Cat'?" in text
    assert "class 'Cat' of the list is not in the data" in text
    assert "the data has 2 classes ('cat', 'dog'); the list has 2 classes ('Cat', 'dog')" in text


def test_an_image_of_another_size_than_annotated(tmp_path: Path) -> None:
    dataset = coco(tmp_path, coco_content())
    picture(tmp_path / "images/a.png", (30, 24))
    with pytest.raises(DataError, match=r"a\.png.*24x30.*30x24.*EXIF"):
        dataset[0]


# --------------------------------------------------------------------------- VOC files made here

VOC = """<annotation><filename>a.png</filename><size><width>30</width><height>24</height></size>
<object><name>cat</name><difficult>1</difficult><part><name>head</name><bndbox><xmin>9</xmin></bndbox></part>
<bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>30</xmax><ymax>24</ymax></bndbox></object></annotation>"""


def voc(root: Path, text: str, **arguments) -> VocDataset:
    picture(root / "train/a.png")
    (root / "train/a.xml").write_text(text)
    return VocDataset(str(root), "train", **arguments)


def test_voc_sample(tmp_path: Path) -> None:
    sample = voc(tmp_path, VOC)[0]
    assert sample.boxes.xyxy.tolist() == [[0, 1.5, 30, 24]]
    assert sample.boxes.difficult.tolist() == [True]
    assert sample.boxes.area.tolist() == [30 * 22.5]
    assert voc(tmp_path, VOC, one_based=False)[0].boxes.xyxy.tolist() == [[1, 2.5, 30, 24]]
    assert voc(tmp_path, VOC.replace("<size>", "<x>").replace("</size>", "</x>"))[0].boxes.count == 1


BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">' + "".join(
    f'<!ENTITY b{i} "{"&b" + (str(i - 1) if i else "") + ";" * 1}{("&b" + (str(i - 1) if i else "") + ";") * 20}">'
    for i in range(12)
) + "]><annotation><filename>&b11;</filename></annotation>"  # fmt: skip

BAD_VOC = {
    "bomb": (BOMB, "a.xml.*document type"),
    "empty": ("", "a.xml.*empty"),
    "truncated": (VOC[:200], r"a\.xml:3:\d+.*no valid XML"),
    "other root": ("<html></html>", "root element is <html>"),
    "nan": (VOC.replace("2.5", "NaN"), r"object 1 \(cat\).*not finite"),
    "text": (VOC.replace("2.5", "two"), r"object 1 \(cat\).*<ymin> is 'two'"),
    "no corner": (VOC.replace("<ymin>2.5</ymin>", ""), "<ymin> is 'missing'"),
    "outside": (VOC.replace("<xmax>30", "<xmax>31"), "leaves its image of 30x24 by 1"),
    "zero": (VOC.replace("<xmin>1<", "<xmin>0<"), "leaves its image of 30x24 by 1"),
    "turned": (VOC.replace("<xmin>1<", "<xmin>31<"), "wide"),
    "no name": (VOC.replace("<name>cat</name>", ""), "has no <name>"),
    "flag": (VOC.replace("<difficult>1", "<difficult>maybe"), "<difficult> is 'maybe'"),
    "size": (VOC.replace("<width>30", "<width>wide"), "<width> is 'wide'"),
}


@pytest.mark.parametrize("case", BAD_VOC)
def test_bad_voc_files(tmp_path: Path, case: str) -> None:
    content, expected = BAD_VOC[case]
    with pytest.raises(DataError, match=expected):
        voc(tmp_path, content)


@pytest.mark.parametrize("lenient", [False, True])
def test_an_unknown_voc_class_is_told_with_its_file_and_with_all_other_faults(tmp_path: Path, lenient: bool) -> None:
    picture(tmp_path / "train/b.png")
    (tmp_path / "train/b.xml").write_text("<annotation>")
    thrice = VOC.replace("<object>", "<object><name>cta</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax>"
                         "<ymax>3</ymax></bndbox></object>" * 3 + "<object>", 1)  # fmt: skip
    with pytest.raises(DataError) as caught, leaving_out() if lenient else nullcontext():
        voc(tmp_path, thrice, classes=["cat"])
    text = str(caught.value)
    assert f"'cta' of the data is not in the list of classes: 3 objects in {tmp_path / 'train/a.xml'}; did you" in text
    assert "b.xml" in text
    assert "no valid XML" in text


def test_voc_classes_and_files(tmp_path: Path) -> None:
    assert voc(tmp_path, VOC, classes=["cat", "dog"]).classes == ("cat", "dog")
    with pytest.raises(DataError, match="did you mean 'cats'"):
        voc(tmp_path, VOC, classes=["cats"])
    picture(tmp_path / "train/b.png")
    with pytest.raises(DataError, match=r"b\.xml"):
        voc(tmp_path, VOC)
    (tmp_path / "train/b.xml").write_text("<annotation></annotation>")
    assert len(voc(tmp_path, VOC)) == 2
    assert len(voc(tmp_path, VOC, keep_empty=False)) == 1
    (tmp_path / "train/b.png").unlink()
    with pytest.raises(DataError, match=r"b\.xml.*no image 'b\.jpg'"):
        voc(tmp_path, VOC)
    with pytest.raises(DataError, match="no split 'tset'"):
        VocDataset(str(tmp_path), "tset")


# --------------------------------------------------------------------------- YOLO files made here


def yolo(root: Path, text: str, names: str = "names: [cat, dog]", **arguments) -> YoloDataset:
    picture(root / "images/train/a.png")
    picture(root / "images/train/b.png")
    (root / "labels/train").mkdir(parents=True, exist_ok=True)
    (root / "labels/train/a.txt").write_text(text)
    (root / "data.yaml").write_text(f"train: images/train\n{names}\n")
    return YoloDataset(str(root), "train", **arguments)


def test_yolo_sample(tmp_path: Path) -> None:
    dataset = yolo(tmp_path, "1 0.5 0.5 1 0.5\n\n0 0.25 0.25 0.5 0.5\n")
    assert dataset[0].boxes.xyxy.tolist() == [[0, 6, 30, 18], [0, 0, 15, 12]]
    assert dataset[0].boxes.labels.tolist() == [1, 0]
    assert dataset[0].boxes.area.tolist() == [360, 180]
    assert dataset[1].boxes.count == 0
    assert len(yolo(tmp_path, "1 0.5 0.5 1 0.5", keep_empty=False)) == 1
    turned = yolo(tmp_path, "1 0.5 0.5 1 0.5", classes=["dog", "cat"])
    assert (turned[0].boxes.labels.tolist(), turned.category_ids) == ([0], (1, 0))
    assert yolo(tmp_path, "1 .5 .5 1 .5", names="names: {0: cat, 1: dog}\nnc: 2").classes == ("cat", "dog")
    assert yolo(tmp_path, "")[0].boxes.count == 0


def test_yolo_without_data_yaml(tmp_path: Path) -> None:
    yolo(tmp_path, "0 0.5 0.5 1 0.5")
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(DataError, match="no class names"):
        YoloDataset(str(tmp_path))
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert YoloDataset(str(tmp_path)).classes == ("cat", "dog")


BAD_YOLO = {
    "class": ("2 0.5 0.5 1 0.5", r"a\.txt:1.*class 2, but the 2 classes are 0\.\.1"),
    "columns": ("0 0.5 0.5 1\n", r"a\.txt:1.*4 columns, wanted 5"),
    "even outline": ("\n0 0.1 0.1 0.2 0.2 0.3 0.1 0.4\n", r"a\.txt:2.*8 columns, wanted 5"),
    "scores": ("0 0.5 0.5 1 0.5 0.9", "6 columns.*predictions"),
    "text": ("0 a 0.5 1 0.5", r"a\.txt:1.*'a' is no number"),
    "nan": ("0 nan 0.5 1 0.5", r"a\.txt:1.*not finite"),
    "pixels": ("0 15 12 30 12", r"a\.txt:1.*no fractions"),
    "outside": ("0 0.9 0.5 0.5 0.5", r"a\.txt:1.*leaves its image"),
    "flat": ("0 0.5 0.5 0 0.5", r"a\.txt:1.*0 wide"),
}


@pytest.mark.parametrize("case", BAD_YOLO)
def test_bad_yolo_labels(tmp_path: Path, case: str) -> None:
    text, expected = BAD_YOLO[case]
    with pytest.raises(DataError, match=expected):
        yolo(tmp_path, text)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("names: [cat, cat]", "'cat' twice"),
        ("names: [cat, dog]\nnc: 3", "'nc' is 3"),
        ("names: {0: cat, 2: dog}", r"0\.\.1"),
        ("nc: 2", "wanted 'names'"),
        ("names: [cat", "no valid YAML"),
    ],
)
def test_bad_data_yaml(tmp_path: Path, names: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        yolo(tmp_path, "0 0.5 0.5 1 0.5", names=names)


def test_yolo_files_that_are_not_there(tmp_path: Path) -> None:
    yolo(tmp_path, "0 0.5 0.5 1 0.5")
    with pytest.raises(DataError, match="has no split 'vall'"):
        YoloDataset(str(tmp_path), "vall")
    picture(tmp_path / "images/train/a.jpg")
    with pytest.raises(DataError, match="shares its label file"):
        YoloDataset(str(tmp_path))
    (tmp_path / "images/train/a.jpg").unlink()
    (tmp_path / "labels/train/a.txt").unlink()
    with pytest.raises(DataError, match="none of the 2 images has a label file"):
        YoloDataset(str(tmp_path))


# --------------------------------------------------------------------------- size


@pytest.mark.slow
def test_a_data_set_of_cocos_size_stays_compact(tmp_path: Path) -> None:
    images, number = 118_000, 860_000
    random = np.random.default_rng(0)
    owners = random.integers(0, images, number).tolist()
    corners = np.round(random.random((number, 2)) * 300, 2).tolist()
    content = {
        "images": [{"id": 3 * i, "file_name": f"{i:012d}.jpg", "height": 480, "width": 640} for i in range(images)],
        "annotations": [
            {"id": i, "image_id": 3 * owner, "category_id": 1, "bbox": [x, y, 50.5, 60.25], "area": 2000.5,
             "iscrowd": 0, "segmentation": [[x, y, 10.5, 11.5, 12.5, 13.5]]}
            for i, (owner, (x, y)) in enumerate(zip(owners, corners, strict=True))
        ],
        "categories": [{"id": 1, "name": "thing"}],
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "images").mkdir()
    for image in content["images"]:
        (tmp_path / "images" / image["file_name"]).touch()
    del content
    index = CocoDataset(str(tmp_path), "a.json", "images").index
    assert (len(index), len(index.labels)) == (images, number)
    arrays = arrays_within(index)
    assert sum(len(array) for array in arrays) > images + 4 * number  # all of them were found
    assert sum(array.nbytes for array in arrays) < 40_000_000
    assert not any(isinstance(value, list | dict) for value in vars(index).values())


def arrays_within(value: Any) -> list[np.ndarray]:
    """All arrays that an object holds, also in the objects that it is made of."""
    if isinstance(value, np.ndarray):
        return [value]
    return (
        [array for inner in vars(value).values() for array in arrays_within(inner)]
        if hasattr(value, "__dict__")
        else []
    )
