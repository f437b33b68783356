"""Outlines of COCO's JSON, and of its relatives, as label maps and as boxes, from files written here by hand."""

import json

import numpy as np
import pytest
from outlined_data import coco, picture
from PIL import Image, ImageDraw

from toolkit.data.datasets.coco import CocoDataset
from toolkit.data.datasets.coco_masks import CocoMasks
from toolkit.errors import DataError


def polygon(points, size=(64, 96)):
    """PIL's fill, which takes the pixels of the edge too."""
    image = Image.new("L", size[::-1])
    ImageDraw.Draw(image).polygon(points, fill=1)
    return np.asarray(image) > 0


# --------------------------------------------------------------------------- COCO


def test_coco_polygons_become_labels_and_the_rest_is_background(tmp_path):
    where = coco(tmp_path, [{"segmentation": [[20, 20, 60, 20, 40, 50]]}])
    dataset = CocoMasks(**where, classes=["background", "disc", "bar"])
    labels = dataset[0].label_map
    assert (labels == 1).sum() == 600
    assert set(np.unique(labels)) == {0, 1}
    inside = polygon([20, 20, 60, 20, 40, 50])
    assert not (labels == 1)[~inside].any()
    assert CocoMasks(**where).classes == ("background", "disc", "bar")


def test_coco_objects_are_drawn_in_the_order_of_the_file(tmp_path):
    square, inner = [[10, 10, 50, 10, 50, 50, 10, 50]], [[20, 20, 30, 20, 30, 30, 20, 30]]
    where = coco(tmp_path, [{"segmentation": inner, "category_id": 9}, {"segmentation": square}])
    assert set(np.unique(CocoMasks(**where)[0].label_map)) == {0, 1}
    labels = CocoMasks(**where, overlaps="larger_first")[0].label_map
    assert (labels[20:30, 20:30] == 2).all()
    assert (labels == 1).sum() == 1600 - 100


def test_coco_run_lengths_crowds_and_the_order_of_rows(tmp_path):
    mask = np.zeros((64, 96), bool)
    mask[5:20, 7:30] = True
    mask[9:12, 10:20] = False  # a hole
    flat = mask.ravel("F")
    counts = np.diff([0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]).tolist()
    where = coco(tmp_path, [{"segmentation": {"size": [64, 96], "counts": counts}, "iscrowd": 1}])
    np.testing.assert_array_equal(CocoMasks(**where)[0].label_map, mask)
    np.testing.assert_array_equal(CocoMasks(**where, crowd="ignore")[0].label_map, mask * 255)


def test_coco_boxes_without_outline_are_said(tmp_path):
    where = coco(tmp_path, [{"bbox": [10, 20, 30, 8]}])
    filled = CocoMasks(**where)
    assert filled[0].label_map[20:28, 10:40].all()
    assert filled[0].label_map.sum() == 240
    assert any("1 objects have a box and no outline" in note for note in filled.notes)
    assert (CocoMasks(**where, box_only="ignore")[0].label_map == 255).sum() == 240
    with pytest.raises(DataError, match="has a box and no outline"):
        CocoMasks(**where, box_only="stop")


def test_coco_pixels_of_no_object_have_to_be_said(tmp_path):
    where = coco(tmp_path, [{"segmentation": [[20, 20, 60, 20, 40, 50]]}])
    with pytest.raises(DataError, match=r"'background'.*none of the 2 classes.*set background"):
        CocoMasks(**where, classes=["disc", "bar"])
    labels = CocoMasks(**where, classes=["disc", "bar"], background="ignore")[0].label_map
    assert (labels == 0).sum() == 600
    assert (labels == 255).sum() == 64 * 96 - 600
    with pytest.raises(DataError, match=r"class 'disc' of the data is not in the list.*did you mean 'disk'"):
        CocoMasks(**where, classes=["background", "disk", "bar"])


def test_coco_outlines_that_are_none_are_named(tmp_path):
    where = coco(tmp_path, [{"segmentation": {"size": [64, 96], "counts": [3, 4]}, "bbox": [1, 1, 2, 2]}])
    with pytest.raises(DataError, match=r"a.json: annotation 0 \(0.png\): 'segmentation' is .*run lengths that fill"):
        CocoMasks(**where)


def test_coco_lines_have_no_area(tmp_path):
    where = coco(tmp_path, [{"segmentation": [[1, 1, 9, 9], [20, 20, 60, 20, 40, 50]]}])
    dataset = CocoMasks(**where)
    assert dataset[0].label_map.sum() == 600
    assert any("fewer than three corners" in note for note in dataset.notes)


def test_coco_boxes_of_the_same_file_are_around_the_outlines(tmp_path):
    where = coco(tmp_path, [{"segmentation": [[20, 20, 60, 20, 40, 50]]}])
    assert CocoDataset(**where)[0].boxes.xyxy.tolist() == [[20, 20, 60, 50]]


def test_an_image_of_another_size_is_named(tmp_path):
    where = coco(tmp_path, [{"segmentation": [[20, 20, 60, 20, 40, 50]]}])
    picture(tmp_path / "pics/0.png", (50, 96))
    with pytest.raises(DataError, match=r"0.png: the image is 96x50, but its outlines were drawn on 96x64"):
        CocoMasks(**where)[0]


def test_a_part_of_the_images_keeps_their_objects(tmp_path):
    where = coco(tmp_path, [{"segmentation": [[20, 20, 60, 20, 40, 50]], "image_id": 2}], images=3)
    part = CocoMasks(**where).subset([2, 0])
    assert [part[place].label_map.sum() for place in range(2)] == [600, 0]
    assert part[0].name == "pics/2.png"
    assert part[0].image_id == 2


# --------------------------------------------------------------------------- variants of COCO's file


def test_lvis_names_its_images_by_address(tmp_path):
    where = coco(tmp_path, [{"segmentation": [[20, 20, 60, 20, 40, 50]], "bbox": [20, 20, 40, 30]}])
    document = json.loads((tmp_path / "a.json").read_text())
    for row in document["images"]:
        row["coco_url"] = f"http://images.cocodataset.org/pics/{row.pop('file_name')}"
        row |= {"neg_category_ids": [9], "not_exhaustive_category_ids": []}
    for row in document["annotations"]:
        del row["iscrowd"]
    (tmp_path / "a.json").write_text(json.dumps(document))
    for images in ("pics", "."):
        dataset = CocoMasks(**{**where, "images": images})
        assert dataset[0].name == "pics/0.png"
        assert dataset[0].label_map.sum() == 600
        assert CocoDataset(**{**where, "images": images})[0].boxes.xyxy.tolist() == [[20, 20, 60, 50]]
    assert any("1 images have no file_name" in note for note in dataset.notes)


def test_objects365_names_begin_with_folders_of_its_server(tmp_path):
    where = coco(tmp_path, [{"bbox": [20, 20, 40, 30]}])
    document = json.loads((tmp_path / "a.json").read_text())
    document["images"][0]["file_name"] = "images/v1/patch8/0.png"
    (tmp_path / "a.json").write_text(json.dumps(document))
    dataset = CocoDataset(**where)
    assert dataset[0].name == "pics/0.png"
    assert any("(images/v1/patch8/)" in note for note in dataset.notes)


def test_a_file_of_images_alone_has_nothing_to_measure(tmp_path):
    where = coco(tmp_path, [])
    document = json.loads((tmp_path / "a.json").read_text())
    del document["annotations"]
    (tmp_path / "a.json").write_text(json.dumps(document))
    for kind in (CocoDataset, CocoMasks):
        dataset = kind(**where)
        assert len(dataset) == 1
        assert not dataset.annotated
        assert any("has no 'annotations'" in note for note in dataset.notes)
