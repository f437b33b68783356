"""Objects cut out of their pictures: which, how large, with which class, and in which order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toolkit.data.datasets.box_crops import BoxCrops, square_crop
from toolkit.data.datasets.coco import CocoDataset
from toolkit.errors import DataError


def boxes_on_disk(root: Path, sized: bool = True) -> CocoDataset:
    """Two pictures of 20x30 pixels, whose red is the column and whose green is the row."""
    y, x = np.mgrid[:20, :30].astype(np.uint8)
    coco: dict[str, Any] = {"images": [], "annotations": []}
    coco["categories"] = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    rows = [(0, 1, [4, 2, 10, 6], 0), (0, 2, [0, 0, 4, 8], 0), (0, 1, [2, 2, 20, 10], 1), (1, 2, [25, 15, 5, 5], 0)]
    rows += [(1, 1, [3, 3, 2, 9], 0)]
    for index in range(2):
        Image.fromarray(np.stack([x, y, x * 0], 2)).save(root / f"{index}.png")
        size = {"height": 20, "width": 30} if sized else {}
        coco["images"].append({"id": index, "file_name": f"{index}.png", **size})
    for number, (image, category, bbox, crowd) in enumerate(rows):
        area = {"area": bbox[2] * bbox[3], "iscrowd": crowd}
        coco["annotations"].append({"id": number, "image_id": image, "category_id": category, "bbox": bbox, **area})
    (root / "boxes.json").write_text(json.dumps(coco))
    return CocoDataset(str(root), "boxes.json", ".", ["cat", "dog"])


@pytest.mark.parametrize("sized", [True, False])
def test_every_object_is_an_image_of_its_class(tmp_path: Path, sized: bool) -> None:
    crops = BoxCrops(boxes_on_disk(tmp_path, sized), margin=0.0, min_side=4)
    samples = list(crops)
    assert [sample.name for sample in samples] == ["0.png box 1", "0.png box 2", "1.png box 1"]
    assert [sample.image_label for sample in samples] == [0, 1, 1]
    assert [sample.image.shape for sample in samples] == [(10, 10, 3), (8, 8, 3), (5, 5, 3)]
    first = samples[0].image  # the box 4..14 x 2..8, made square around its centre: rows 0..9
    np.testing.assert_array_equal(first[:, :, 0], np.tile(np.arange(4, 14), (10, 1)))
    np.testing.assert_array_equal(first[:, 0, 1], np.arange(10))
    np.testing.assert_array_equal(
        samples[1].image[0, :, 0], [0, 0, 0, 1, 2, 3, 4, 5]
    )  # two columns lie beyond the edge
    assert crops.notes[-1] == "2 boxes are no crops: crowd regions, difficult objects, or less than 4 pixels a side"
    assert crops.describe().endswith("1 cat, 2 dog")


def test_a_margin_is_added_at_each_side() -> None:
    image = np.arange(400, dtype=np.uint8).reshape(20, 20, 1)
    np.testing.assert_array_equal(square_crop(image, np.array([5.0, 5.0, 9.0, 9.0]), 0.5), image[3:11, 3:11])


def test_without_objects_there_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no boxes of at least 50 pixels a side"):
        BoxCrops(boxes_on_disk(tmp_path), min_side=50)
