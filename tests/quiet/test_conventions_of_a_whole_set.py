"""Boxes that make no sense as they stand, and all make sense in another convention, are recognised as that."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.contracts import Dataset
from toolkit.data.datasets.coco import CocoDataset
from toolkit.data.datasets.voc import VocDataset
from toolkit.data.datasets.yolo import YoloDataset
from toolkit.data.faults.leaving_out import leaving_out
from toolkit.errors import DataError

HEIGHT, WIDTH = 60, 100
CORNERS = np.array(
    [[20, 5, 60, 30], [10, 2, 90, 50], [40, 8, 85, 55], [3, 1, 20, 58], [70, 40, 95, 55], [80, 9, 99, 25]]
)
LOW, HIGH = CORNERS[:, :2], CORNERS[:, 2:]
SIZES = HIGH - LOW
XYWH = np.concatenate([LOW, SIZES], 1)
CENTERS = np.concatenate([(LOW + HIGH) / 2, SIZES], 1)
FRACTION = np.array([WIDTH, HEIGHT] * 2)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(path)


def coco(root: Path, boxes: np.ndarray, fix: str = "stop") -> Dataset:
    picture(root / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 1, "name": "cup"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": box} for box in boxes.tolist()],
    }
    (root / "a.json").write_text(json.dumps(content))
    return CocoDataset(str(root), "a.json", fix_boxes=fix)  # type: ignore[arg-type]


def voc(root: Path, boxes: np.ndarray, fix: str = "stop") -> Dataset:
    picture(root / "train/a.png")
    sides = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        "<object><name>cup</name><bndbox>"
        + "".join(f"<{side}>{value}</{side}>" for side, value in zip(sides, box, strict=True))
        + "</bndbox></object>"
        for box in boxes.tolist()
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    (root / "train/a.xml").write_text(f"<annotation><filename>a.png</filename>{size}{objects}</annotation>")
    return VocDataset(str(root), "train", ["cup"], fix_boxes=fix)  # type: ignore[arg-type]


def yolo(root: Path, boxes: np.ndarray, fix: str = "stop") -> Dataset:
    picture(root / "images/train/a.png")
    (root / "labels/train").mkdir(parents=True)
    (root / "labels/train/a.txt").write_text("\n".join(f"0 {' '.join(map(str, box))}" for box in boxes.tolist()))
    return YoloDataset(str(root), "train", ["cup"], fix_boxes=fix)  # type: ignore[arg-type]


MISTAKEN = {
    "coco fractions": (coco, XYWH / FRACTION, "every corner of 6 boxes lies within 0..1"),
    "coco corners": (coco, CORNERS, "are these two corners"),
    "coco centers": (coco, CENTERS, "are x and y the center"),
    "coco exchanged": (coco, XYWH[:, [1, 0, 3, 2]], "are x and y exchanged"),
    "voc fractions": (voc, CORNERS / FRACTION, "every corner of 6 boxes lies within 0..1"),
    "voc widths": (voc, XYWH, "are these a corner, width and height"),
    "yolo corners": (yolo, CORNERS / FRACTION, "are these two corners"),
    "yolo top left": (yolo, XYWH / FRACTION, "are these a corner, width and height"),
}


@pytest.mark.parametrize("fix", ["stop", "clip", "drop"])
@pytest.mark.parametrize("case", MISTAKEN)
def test_another_convention_is_recognised(case: str, fix: str, tmp_path: Path) -> None:
    make, boxes, words = MISTAKEN[case]
    with pytest.raises(DataError, match=words) as caught:
        make(tmp_path, boxes, fix)
    assert len(caught.value.problems) == 1  # not one for each box
    assert caught.value.problems[0].suggestion


@pytest.mark.parametrize("case", MISTAKEN)
def test_it_stops_with_skip_too(case: str, tmp_path: Path) -> None:
    make, boxes, words = MISTAKEN[case]
    with pytest.raises(DataError, match=words), leaving_out():
        make(tmp_path, boxes)


@pytest.mark.parametrize(
    ("make", "boxes"), [(coco, XYWH), (voc, CORNERS), (yolo, CENTERS / FRACTION)], ids=["coco", "voc", "yolo"]
)
def test_sound_boxes_are_what_they_are(make: object, boxes: np.ndarray, tmp_path: Path) -> None:
    assert len(make(tmp_path, boxes)) == 1  # type: ignore[operator]


def test_a_single_box_that_leaves_its_image_is_told_as_that(tmp_path: Path) -> None:
    boxes = np.tile(XYWH, (3, 1))
    boxes[4, 2] = 95
    with pytest.raises(DataError, match="leaves its image of 100x60"):
        coco(tmp_path, boxes)
