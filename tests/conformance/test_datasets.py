"""Every registered data set, on a miniature of its files.

A new data set needs one line in `MINIATURES`: how to write a few samples to a folder, and what its constructor gets.
"""

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import toolkit.data.datasets  # noqa: F401 - registers them
from toolkit.contracts import DATASETS, Dataset
from toolkit.data.loading.loader import eval_loader, train_loader
from toolkit.errors import DataError
from toolkit.samples import IGNORE_INDEX, Sample

SIZE = (24, 30)


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)).save(path)


def mask(path: Path, classes: int, ignore: int = IGNORE_INDEX) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.resize(np.array([*range(classes), ignore], np.uint8), SIZE)
    Image.fromarray(stored).save(path)


def make_image_masks(root: Path) -> dict[str, Any]:
    for index in range(4):
        picture(root / f"images/{index}.jpg", index)
        mask(root / f"masks/{index}.png", 3)
    return {"root": str(root), "classes": ["sky", "road", "car"]}


def make_camvid(root: Path) -> dict[str, Any]:
    for index in range(4):
        picture(root / f"images/val/{index}.jpg", index)
        mask(root / f"annotations/val/{index}.png", 11, ignore=11)
    return {"root": str(root), "split": "val"}


def make_shapes(root: Path) -> dict[str, Any]:
    root.rmdir()
    return {
        "root": str(root), "split": "train", "target": "both", "count_train": 4, "count_val": 1, "image_size": (40, 48),
    }  # fmt: skip


def make_sequences(root: Path) -> dict[str, Any]:
    root.rmdir()
    return {"root": str(root), "split": "train", "count_train": 4, "count_val": 1, "rows": 3, "steps": 20, "delay": 3}


def make_coco(root: Path) -> dict[str, Any]:
    coco: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 7, "name": "cat"}]}
    for index in range(4):
        picture(root / f"images/{index}.jpg", index)
        coco["images"].append({"id": 40 + index, "file_name": f"{index}.jpg", "height": SIZE[0], "width": SIZE[1]})
        box = {"image_id": 40 + index, "category_id": 7, "bbox": [2, 3, 10, 12], "area": 100, "iscrowd": 0}
        coco["annotations"].append({"id": index + 1, **box})
    (root / "instances.json").write_text(json.dumps(coco))
    return {"root": str(root), "annotations": "instances.json", "images": "images"}


def make_coco_masks(root: Path) -> dict[str, Any]:
    arguments = make_coco(root)
    coco = json.loads((root / "instances.json").read_text())
    for row in coco["annotations"]:
        row["segmentation"] = [[2, 3, 12, 3, 12, 15]]
    (root / "instances.json").write_text(json.dumps(coco))
    return arguments


def make_labelme(root: Path) -> dict[str, Any]:
    for index in range(4):
        picture(root / f"{index}.jpg", index)
        shape = {"label": "cat", "points": [[2, 3], [12, 3], [12, 15]], "shape_type": "polygon", "group_id": None}
        document = {"imagePath": f"{index}.jpg", "imageHeight": SIZE[0], "imageWidth": SIZE[1], "shapes": [shape]}
        (root / f"{index}.json").write_text(json.dumps(document))
    return {"root": str(root)}


def make_class_masks(root: Path) -> dict[str, Any]:
    for index in range(4):
        picture(root / f"images/{index}.jpg", index)
        for name in ("cat", "dog"):
            mask(root / f"masks/{name}/{index}.png", 2, ignore=0)
    return {"root": str(root), "masks": "masks/{class}/{name}.png"}


def make_joined(root: Path) -> dict[str, Any]:
    parts = []
    for index in range(2):
        (root / f"part{index}").mkdir()
        arguments = make_labelme(root / f"part{index}")
        parts.append(DATASETS.find("labelme")(**arguments).subset([0, 2 + index]))
    return {"datasets": parts, "weights": [1.0, 2.0]}


def make_box_crops(root: Path) -> dict[str, Any]:
    return {"dataset": DATASETS.find("coco")(**make_coco(root)), "min_side": 4.0}


def make_via(root: Path) -> dict[str, Any]:
    rows = {}
    for index in range(4):
        picture(root / f"{index}.jpg", index)
        shape = {"name": "polygon", "all_points_x": [2, 12, 12], "all_points_y": [3, 3, 15]}
        region = {"shape_attributes": shape, "region_attributes": {"kind": "cat"}}
        rows[f"{index}.jpg77"] = {"filename": f"{index}.jpg", "size": 77, "regions": [region]}
    (root / "via.json").write_text(json.dumps(rows))
    return {"root": str(root), "annotations": "via.json"}


def make_cvat(root: Path) -> dict[str, Any]:
    images = ""
    for index in range(4):
        picture(root / f"images/{index}.jpg", index)
        shape = '<polygon label="cat" points="2,3;12,3;12,15" z_order="0"/>'
        images += f'<image id="{index}" name="{index}.jpg" width="{SIZE[1]}" height="{SIZE[0]}">{shape}</image>'
    (root / "annotations.xml").write_text(f"<annotations>{images}</annotations>")
    return {"root": str(root)}


def make_yolo_masks(root: Path) -> dict[str, Any]:
    arguments = make_yolo(root)
    for index in range(4):
        (root / f"labels/train/{index}.txt").write_text("0 0.2 0.2 0.6 0.2 0.6 0.7\n")
    return {**arguments, "classes": ["background", "cat"]}


def make_voc(root: Path) -> dict[str, Any]:
    (root / "Annotations").mkdir()
    (root / "ImageSets/Main").mkdir(parents=True)
    for index in range(4):
        picture(root / f"JPEGImages/{index}.jpg", index)
        size = f"<size><width>{SIZE[1]}</width><height>{SIZE[0]}</height><depth>3</depth></size>"
        box = "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>12</xmax><ymax>15</ymax></bndbox>"
        thing = f"<object><name>cat</name><difficult>{index % 2}</difficult>{box}</object>"
        text = f"<annotation><filename>{index}.jpg</filename>{size}{thing}</annotation>"
        (root / f"Annotations/{index}.xml").write_text(text)
    (root / "ImageSets/Main/train.txt").write_text("0\n1\n2\n3\n")
    return {"root": str(root), "classes": ["cat"]}


def make_yolo(root: Path) -> dict[str, Any]:
    (root / "labels/train").mkdir(parents=True)
    for index in range(4):
        picture(root / f"images/train/{index}.jpg", index)
        (root / f"labels/train/{index}.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    return {"root": str(root), "classes": ["cat"]}


def make_image_folder(root: Path) -> dict[str, Any]:
    for index in range(4):
        picture(root / f"{'cat' if index % 2 else 'dog'}/{index}.jpg", index)
    return {"root": str(root), "classes": ["cat", "dog"]}


def make_image_stacks(root: Path) -> dict[str, Any]:
    pages = [np.random.default_rng(index).integers(0, 255, SIZE, np.uint8) for index in range(4)]
    for name, arrays in (("volume.tif", pages), ("labels.tif", [page // 128 for page in pages])):
        first, *rest = map(Image.fromarray, arrays)
        first.save(root / name, save_all=True, append_images=rest)
    return {"root": str(root), "classes": ["no", "yes"], "images": "volume.tif", "masks": "labels.tif"}


def make_image_values(root: Path) -> dict[str, Any]:
    rows = ["file,age,height"]
    for index in range(4):
        picture(root / f"{index}.jpg", index)
        rows.append(f"{index}.jpg,{index * 1.5},{'' if index == 2 else 7}")
    (root / "values.csv").write_text("\n".join(rows) + "\n")
    return {"root": str(root), "classes": ["age", "height"]}


def make_image_maps(root: Path) -> dict[str, Any]:
    (root / "maps").mkdir()
    for index in range(4):
        picture(root / f"images/{index}.jpg", index)
        Image.fromarray(np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE)).save(root / f"maps/{index}.png")
    return {"root": str(root), "classes": ["depth"]}


def make_voc_segmentation(root: Path) -> dict[str, Any]:
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/val.txt").write_text("".join(f"2007_{index}\n" for index in range(4)))
    (root / "SegmentationClass").mkdir()
    for index in range(5):  # one more than the list names
        picture(root / f"JPEGImages/2007_{index}.jpg", index)
        stored = Image.fromarray(np.resize(np.array([0, 15, 20, 255], np.uint8), SIZE))
        stored.putpalette(np.arange(768, dtype=np.uint8).tobytes())
        stored.save(root / f"SegmentationClass/2007_{index}.png")
    return {"root": str(root), "split": "val"}


def make_cityscapes(root: Path) -> dict[str, Any]:
    for index in range(4):
        place = f"train/{'aachen' if index % 2 else 'bonn'}/street_{index}"
        picture(root / f"leftImg8bit/{place}_leftImg8bit.png", index)
        mask(root / f"gtFine/{place}_gtFine_labelIds.png", 34)
        mask(root / f"gtFine/{place}_gtFine_labelTrainIds.png", 19)
        picture(root / f"gtFine/{place}_gtFine_color.png", index)
    return {"root": str(root), "split": "train"}


MINIATURES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "box_crops": make_box_crops,
    "camvid": make_camvid,
    "cityscapes": make_cityscapes,
    "class_masks": make_class_masks,
    "coco": make_coco,
    "coco_masks": make_coco_masks,
    "cvat": make_cvat,
    "cvat_boxes": make_cvat,
    "image_folder": make_image_folder,
    "image_maps": make_image_maps,
    "image_masks": make_image_masks,
    "image_stacks": make_image_stacks,
    "image_values": make_image_values,
    "joined": make_joined,
    "labelme": make_labelme,
    "labelme_boxes": make_labelme,
    "sequences": make_sequences,
    "shapes": make_shapes,
    "via": make_via,
    "via_boxes": make_via,
    "voc": make_voc,
    "voc_segmentation": make_voc_segmentation,
    "yolo": make_yolo,
    "yolo_masks": make_yolo_masks,
}

pytestmark = pytest.mark.parametrize("name", DATASETS.names())


def build(name: str, folder: Path) -> Dataset:
    return DATASETS.find(name)(**MINIATURES[name](folder))


def truths_of(sample: Sample) -> tuple[Any, ...]:
    return sample.label_map, sample.boxes, sample.image_label, sample.image_values, sample.value_map


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, tuple):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def dataset(name: str, tmp_path: Path) -> Dataset:
    return build(name, tmp_path)


def test_has_a_miniature(name):
    assert name in MINIATURES, f"write a miniature of '{name}' into MINIATURES"


def test_says_what_it_holds(dataset):
    assert len(dataset) == 4
    assert len(set(dataset.classes)) == len(dataset.classes) > 0
    assert len(dataset.palette) in (0, len(dataset.classes))


def test_samples_keep_the_conventions(dataset):
    for index in range(len(dataset)):
        sample = dataset[index]
        height, width = sample.image.shape[:2]
        assert sample.image.dtype == np.uint8
        assert sample.image.ndim == 3
        assert sample.image.flags["C_CONTIGUOUS"]
        assert sample.position == index
        assert sample.original_size == (height, width)
        assert "\\" not in sample.name
        assert not sample.name.startswith("/")
        assert any(field is not None for field in truths_of(sample))
        if sample.label_map is not None:
            assert sample.label_map.dtype == np.uint8
            assert sample.label_map.shape == (height, width)
            labels = np.unique(sample.label_map)
            assert (labels[labels != IGNORE_INDEX] < len(dataset.classes)).all()
            assert len(labels) > 1
        if sample.boxes is not None:
            x1, y1, x2, y2 = sample.boxes.xyxy.T
            assert ((x1 >= 0) & (y1 >= 0) & (x1 < x2) & (y1 < y2) & (x2 <= width) & (y2 <= height)).all()
            assert (sample.boxes.labels < len(dataset.classes)).all()
            assert (sample.boxes.labels >= 0).all()
            kinds = [field.dtype for field in sample.boxes]
            assert kinds == [np.float32, np.int64, bool, bool, np.float32]
            assert (sample.boxes.area > 0).all()
        if sample.image_label is not None:
            assert 0 <= sample.image_label < len(dataset.classes)
        if sample.image_values is not None:
            assert sample.image_values.dtype == np.float32
            assert sample.image_values.shape == (len(dataset.classes),)
        if sample.value_map is not None:
            assert sample.value_map.dtype == np.float32
            assert sample.value_map.shape == (height, width)


def test_reading_again_is_the_same_and_names_differ(dataset):
    assert len({dataset[index].name for index in range(4)}) == 4
    assert len({dataset[index].image_id for index in range(4)} - {-1}) in (0, 4)
    first = dataset[2]
    dataset[0]
    assert_same(dataset[2], first)


def test_an_index_beyond_the_end_invents_no_sample(dataset):
    with pytest.raises(IndexError):
        dataset[4]


def test_travels_to_workers_cheaply(dataset):
    sent = pickle.dumps(dataset)
    assert len(sent) < 100_000
    assert_same(pickle.loads(sent)[1], dataset[1])


def test_goes_through_the_loaders(dataset):
    batch = next(iter(train_loader(dataset, [], 4, seed=0)))
    assert batch.count == 4
    batches = list(eval_loader(dataset, [], 3))
    assert [b.count for b in batches] == [3, 1]
    assert [t.name for b in batches for t in b.truths] == [dataset[index].name for index in range(4)]


def test_damaged_and_missing_pictures_are_named(name, tmp_path):
    dataset = build(name, tmp_path)
    path = tmp_path / re.split(" page | box ", dataset[3].name)[0]  # a page of a file with several, a part of a picture
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=path.name):
        dataset[3]
    path.unlink()
    with pytest.raises(DataError, match=path.name):
        dataset[3]


def test_a_wrong_root_is_named(name, tmp_path):
    (tmp_path / "data").mkdir()
    arguments = MINIATURES[name](tmp_path / "data")
    arguments["root"] = str(tmp_path / "dato")
    if name in ("shapes", "sequences"):
        arguments["make"] = False
    if name in ("joined", "box_crops"):  # their parts have the roots
        return
    with pytest.raises(DataError) as caught:
        DATASETS.find(name)(**arguments)
    assert str(tmp_path / "dato") in str(caught.value)
    if name not in ("shapes", "sequences"):
        assert str(tmp_path / "data") in str(caught.value).replace(str(tmp_path / "dato"), "")
