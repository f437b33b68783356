"""What is written is read by supervision, and by datumaro where it is installed: the same classes, boxes and outlines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from broken_data import picture, save

from toolkit.data.datasets.coco import CocoDataset
from toolkit.data.datasets.coco_masks import CocoMasks
from toolkit.data.formats.outlines import Outline, object_mask
from toolkit.jobs.convert import convert

BOXES = {"p0": [("tall dog", [3.25, 4.75, 23.75, 34.875]), ("cat", [50, 60, 61, 72])], "p1": [("cat", [0, 0, 127.6, 95.5])],
         "p2": []}  # fmt: skip
POLYGONS = {"cat": [10.5, 8, 90.25, 8, 90.25, 70, 10.5, 70], "tall dog": [30, 20, 58, 22, 50, 60.5, 28, 44]}
NAMES = ["cat", "tall dog"]


def source(root: Path) -> Path:
    """A COCO file of three images, 96x128: the boxes above, and outlines.json with the polygons on the first."""
    names = sorted(BOXES)
    for number, name in enumerate(names):
        save(root / f"{name}.jpg", picture(number))
    images = [{"id": n, "file_name": f"{name}.jpg", "height": 96, "width": 128} for n, name in enumerate(names)]
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES, 1)]
    boxes = [
        {
            "image_id": n,
            "category_id": NAMES.index(name) + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "iscrowd": 0,
            "area": 1,
        }
        for n, image in enumerate(names)
        for name, (x1, y1, x2, y2) in BOXES[image]
    ]
    polygons = [
        {"image_id": 0, "category_id": NAMES.index(name) + 1, "segmentation": [points], "iscrowd": 0, "area": 1,
         "bbox": [0, 0, 1, 1]} for name, points in POLYGONS.items()
    ]  # fmt: skip
    for file, rows in (("boxes", boxes), ("outlines", polygons)):
        content = {
            "images": images,
            "categories": categories,
            "annotations": [{"id": n, **r} for n, r in enumerate(rows, 1)],
        }
        (root / f"{file}.json").write_text(json.dumps(content))
    return root


def boxes_as(form: str, root: Path) -> Path:
    convert({"train": CocoDataset(str(source(root / "a")), "boxes.json", ".")}, root / form, form, shown=False)
    return root / form


def outlines_as(form: str, root: Path) -> Path:
    convert({"train": CocoMasks(str(source(root / "a")), "outlines.json", ".")}, root / form, form, shown=False)
    return root / form


def assert_boxes(found: dict[str, list[tuple[str, list[float]]]], within: float) -> None:
    assert found.keys() == BOXES.keys()
    for name, rows in found.items():
        wanted = sorted(BOXES[name])
        assert [label for label, _ in sorted(rows)] == [label for label, _ in wanted]
        for (_, box), (_, truth) in zip(sorted(rows), wanted, strict=True):
            np.testing.assert_allclose(box, truth, atol=within)


@pytest.mark.parametrize(("form", "within"), [("coco", 1e-4), ("yolo", 1e-4), ("voc", 0.5)])
def test_supervision_reads_the_boxes(tmp_path: Path, form: str, within: float) -> None:
    supervision = pytest.importorskip("supervision")
    folder, sets = boxes_as(form, tmp_path), supervision.DetectionDataset
    found = {
        "coco": lambda: sets.from_coco(str(folder / "images/train"), str(folder / "annotations/instances_train.json")),
        "yolo": lambda: sets.from_yolo(
            str(folder / "images/train"), str(folder / "labels/train"), str(folder / "data.yaml")
        ),
        "voc": lambda: sets.from_pascal_voc(str(folder / "JPEGImages"), str(folder / "Annotations")),
    }[form]()
    assert found.classes == NAMES
    boxes = {
        Path(path).stem: [(NAMES[label], box) for box, label in zip(d.xyxy.tolist(), d.class_id.tolist(), strict=True)]
        for path, _, d in found
    }
    assert_boxes(boxes, within)


@pytest.mark.parametrize("form", ["coco", "yolo"])
def test_supervision_reads_the_outlines(tmp_path: Path, form: str) -> None:
    supervision = pytest.importorskip("supervision")
    folder, sets = outlines_as(form, tmp_path), supervision.DetectionDataset
    if form == "coco":
        file = folder / "annotations/instances_train.json"
        found = sets.from_coco(str(folder / "images/train"), str(file), force_masks=True)
    else:
        places = (folder / "images/train", folder / "labels/train", folder / "data.yaml")
        found = sets.from_yolo(*map(str, places), force_masks=True)
    outlined = next(detections for path, _, detections in found if Path(path).stem == "p0")
    masks = {NAMES[label]: mask for mask, label in zip(outlined.mask, outlined.class_id.tolist(), strict=True)}
    for name, points in POLYGONS.items():
        corners = np.array(points).reshape(-1, 2)
        truth = object_mask(Outline(name, (corners,)), (96, 128))
        around = np.abs(np.diff(corners, axis=0, append=corners[:1])).max(axis=1).sum()
        assert masks[name][truth].all()
        # supervision fills with OpenCV, whose polygons hold the pixels that their edge runs through as well.
        assert (masks[name] & ~truth).sum() <= around


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "theirs", "within"),
    [("coco", "coco_instances", 0.006), ("yolo", "yolo", 0.006), ("voc", "voc_detection", 0.5)],
)
def test_datumaro_reads_the_boxes(tmp_path: Path, form: str, theirs: str, within: float) -> None:
    reason = "datumaro wants older OpenCV and Pillow than we: install it elsewhere and add it to PYTHONPATH"
    datumaro = pytest.importorskip("datumaro.components.dataset", reason=reason)
    found = datumaro.Dataset.import_from(str(boxes_as(form, tmp_path)), theirs)
    labels = [label.name for label in next(iter(found.categories().values()))]
    first = np.array([1, 1, 0, 0]) if form == "voc" else np.zeros(4)  # it leaves VOC's numbers counted from 1
    boxes = {
        item.id: [
            (labels[one.label], (np.array(one.points) - first).tolist())
            for one in item.annotations
            if one.type.name == "bbox"
        ]
        for item in found
    }
    assert_boxes(boxes, within)


@pytest.mark.slow
def test_datumaro_reads_the_outlines(tmp_path: Path) -> None:
    reason = "datumaro wants older OpenCV and Pillow than we: install it elsewhere and add it to PYTHONPATH"
    datumaro = pytest.importorskip("datumaro.components.dataset", reason=reason)
    found = datumaro.Dataset.import_from(str(outlines_as("coco", tmp_path)), "coco_instances")
    polygons = {one.label: list(one.points) for item in found for one in item.annotations if one.type.name == "polygon"}
    labels = [label.name for label in next(iter(found.categories().values()))]
    assert {labels[label]: points for label, points in polygons.items()} == {
        name: pytest.approx(points, abs=0.006) for name, points in POLYGONS.items()
    }
