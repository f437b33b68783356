"""Outlines of labelling tools as label maps and as boxes, from files written here by hand."""

import base64
import io
import json

import numpy as np
import pytest
from outlined_data import picture
from PIL import Image

from toolkit.data.datasets.class_masks import ClassMasks
from toolkit.data.datasets.cvat import Cvat, CvatBoxes
from toolkit.data.datasets.labelme import Labelme, LabelmeBoxes
from toolkit.data.datasets.via import Via, ViaBoxes
from toolkit.data.datasets.voc_segmentation import VocSegmentation
from toolkit.data.datasets.yolo import YoloDataset, YoloMasks
from toolkit.errors import ConfigError, DataError

# --------------------------------------------------------------------------- LabelMe


def labelme(path, shapes, size=(64, 96), picture_name=None, **more):
    picture(path.with_suffix(".png"), size)
    document = {
        "version": "5.4.1", "flags": {}, "imagePath": picture_name or path.with_suffix(".png").name,
        "imageData": None, "imageHeight": size[0], "imageWidth": size[1],
        "shapes": [{"group_id": None, "flags": {}, "shape_type": "polygon", **shape} for shape in shapes], **more,
    }  # fmt: skip
    path.write_text(json.dumps(document))


def test_labelme_polygons_and_rectangles(tmp_path):
    shapes = [
        {"label": "disc", "points": [[20, 20], [60, 20], [40, 50]]},
        {"label": "bar", "points": [[0, 52], [96, 60]], "shape_type": "rectangle"},
    ]
    labelme(tmp_path / "train/q7 b.json", shapes)
    labels = Labelme(str(tmp_path), images="train", classes=["background", "disc", "bar"])[0].label_map
    assert (labels == 1).sum() == 600
    assert (labels[52:60] == 2).all()
    assert (labels == 2).sum() == 8 * 96
    boxes = LabelmeBoxes(str(tmp_path), images="train", classes=["disc", "bar"])[0].boxes
    assert boxes.xyxy.tolist() == [[20, 20, 60, 50], [0, 52, 96, 60]]
    assert boxes.labels.tolist() == [0, 1]


def test_labelme_circles_masks_groups_and_special_names(tmp_path):
    piece = np.zeros((6, 8), np.uint8)
    piece[1:5, 2:7] = 255
    file = io.BytesIO()
    Image.fromarray(piece).save(file, "PNG")
    shapes = [
        {"label": "disc", "points": [[30, 30], [30, 40]], "shape_type": "circle"},
        {"label": "spot", "points": [[50, 10], [57, 15]], "shape_type": "mask",
         "mask": base64.b64encode(file.getvalue()).decode()},
        {"label": "pair", "points": [[70, 5], [74, 5], [74, 9]], "group_id": 3},
        {"label": "pair", "points": [[80, 20], [90, 20], [90, 30]], "group_id": 3},
        {"label": "__ignore__", "points": [[0, 50], [10, 64]], "shape_type": "rectangle"},
        {"label": "disc", "points": [[1, 1], [9, 9]], "shape_type": "line"},
    ]  # fmt: skip
    labelme(tmp_path / "a.json", shapes)
    dataset = Labelme(str(tmp_path))
    assert dataset.classes == ("background", "disc", "pair", "spot")
    labels = dataset[0].label_map
    assert abs((labels == 1).sum() - np.pi * 100) < 6
    np.testing.assert_array_equal(labels[10:16, 50:58] == 3, piece > 0)
    assert (labels[50:64, :10] == 255).all()
    assert any("1 shapes have no area (lines, points)" in note for note in dataset.notes)
    boxes = LabelmeBoxes(str(tmp_path))
    assert boxes.classes == ("disc", "pair", "spot")
    assert boxes[0].boxes.xyxy[boxes[0].boxes.labels == 1].tolist() == [[70, 5, 90, 30]]


def test_labelme_images_without_json_are_said(tmp_path):
    labelme(tmp_path / "a.json", [{"label": "disc", "points": [[20, 20], [60, 20], [40, 50]]}])
    picture(tmp_path / "b.png")
    left = Labelme(str(tmp_path))
    assert len(left) == 1
    assert any("1 images of" in note and "are left out" in note and "b.png" in note for note in left.notes)
    kept = Labelme(str(tmp_path), unlabelled="background")
    assert [kept[place].name for place in range(2)] == ["a.png", "b.png"]
    assert not kept[1].label_map.any()


def test_labelme_files_in_a_folder_of_their_own(tmp_path):
    picture(tmp_path / "images/x/one.jpg")
    labelme(tmp_path / "labels/x/one.json", [{"label": "a", "points": [[0, 0], [9, 0], [9, 9]]}])
    (tmp_path / "labels/x/one.png").unlink()
    for name in ("..\\..\\images\\x\\one.jpg", "elsewhere/one.png"):
        document = json.loads((tmp_path / "labels/x/one.json").read_text()) | {"imagePath": name}
        (tmp_path / "labels/x/one.json").write_text(json.dumps(document))
        assert Labelme(str(tmp_path), images="images", annotations="labels")[0].name == "images/x/one.jpg"


def test_labelme_faults_are_told_together(tmp_path):
    labelme(
        tmp_path / "a.json", [{"label": "", "points": [[0, 0], [1, 1], [2, 0]]}, {"label": "b", "points": [[1, 1]]}]
    )
    (tmp_path / "b.json").write_text('{"hello": 1}')
    (tmp_path / "c.json").write_text('{"shapes": [')
    labelme(tmp_path / "d.json", [])
    (tmp_path / "d.png").unlink()
    with pytest.raises(DataError) as caught:
        Labelme(str(tmp_path))
    for words in (
        "shape 1 (no label)",
        "with 1 points",
        "found an object with hello",
        "no valid JSON",
        "d.json: has no image",
    ):
        assert words in str(caught.value)


# --------------------------------------------------------------------------- VIA


def via(folder, regions, attribute="kind", wrap=False):
    picture(folder / "pics/r 3.png")
    rows = {"r 3.png99": {"filename": "r 3.png", "size": 99, "regions": regions, "file_attributes": {}}}
    (folder / "v.json").write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": rows} if wrap else rows))
    return {"root": str(folder), "annotations": "v.json", "images": "pics"}


REGIONS = [
    {"shape_attributes": {"name": "polygon", "all_points_x": [20, 60, 40], "all_points_y": [20, 20, 50]},
     "region_attributes": {"kind": "disc"}},
    {"shape_attributes": {"name": "rect", "x": 0, "y": 52, "width": 96, "height": 8}, "region_attributes": {"kind": {"bar": True}}},
    {"shape_attributes": {"name": "circle", "cx": 80, "cy": 20, "r": 9}, "region_attributes": {"kind": "disc"}},
    {"shape_attributes": {"name": "point", "cx": 80, "cy": 20}, "region_attributes": {"kind": "disc"}},
]  # fmt: skip


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_via_regions(tmp_path, wrap, first):
    where = via(tmp_path, {str(n): one for n, one in enumerate(REGIONS)} if first else REGIONS, wrap=wrap)
    dataset = Via(**where, classes=["background", "bar", "disc"])
    labels = dataset[0].label_map
    assert (labels[:, :70] == 2).sum() == 600
    assert abs((labels[:, 70:] == 2).sum() - np.pi * 81) < 6
    assert (labels == 1).sum() == 8 * 96
    assert any("1 shapes have no area (lines, points)" in note for note in dataset.notes)
    boxes = ViaBoxes(**where)[0].boxes
    assert boxes.xyxy.tolist() == [[20, 20, 60, 50], [0, 52, 96, 60], [71, 11, 89, 29]]


def test_via_regions_without_any_attribute_are_regions(tmp_path):
    where = via(tmp_path, [REGIONS[0] | {"region_attributes": {}}])
    assert Via(**where).classes == ("background", "region")


def test_via_faults_say_what_to_do(tmp_path):
    where = via(tmp_path, [REGIONS[0] | {"region_attributes": {"kind": "disc", "age": "old"}}])
    with pytest.raises(DataError, match=r"several attributes: kind, age.*attribute: kind"):
        Via(**where)
    assert Via(**where, attribute="age").classes == ("background", "old")
    with pytest.raises(DataError, match=r"no region has the attribute 'kin'.*did you mean 'kind'"):
        Via(**where, attribute="kin")
    where = via(tmp_path, [{"shape_attributes": {"name": "rect", "x": 1}, "region_attributes": {"kind": "a"}}])
    with pytest.raises(DataError, match=r"region 1 of r 3.png: a region of shape 'rect' without the numbers"):
        Via(**where)
    (tmp_path / "v.json").write_text('{"project": {}, "metadata": {}}')
    with pytest.raises(DataError, match="a project of VIA 3: export it as COCO"):
        Via(**where)


# --------------------------------------------------------------------------- CVAT

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><labels><label><name>bar</name></label><label><name>disc</name></label></labels></task></meta>
<image id="7" name="u/1.png" subset="Train" width="96" height="64">
  <polygon label="disc" source="manual" occluded="0" points="20.00,20.00;60.00,20.00;40.00,50.00" z_order="{z}"></polygon>
  <box label="bar" occluded="0" xtl="0.0" ytl="30.0" xbr="96.0" ybr="40.0" z_order="0"><attribute name="a">1</attribute></box>
  <mask label="disc" rle="1, 2, 3, 2" left="80" top="2" width="4" height="2" z_order="0"></mask>
  <polyline label="disc" points="1,1;2,2" z_order="0"></polyline>
</image>
<image id="8" name="u/2.png" subset="Val" width="96" height="64">
  <box label="bar" xtl="40" ytl="20" xbr="60" ybr="30" rotation="90" z_order="0"></box>
  <ellipse label="disc" cx="20" cy="40" rx="9" ry="5" z_order="0"></ellipse>
</image>
</annotations>"""


def cvat(folder, text=CVAT, z=0):
    picture(folder / "images/u/1.png")
    picture(folder / "images/u/2.png", seed=1)
    (folder / "annotations.xml").write_text(text.replace("{z}", str(z)))
    return str(folder)


def test_cvat_shapes_are_drawn_by_their_order(tmp_path):
    dataset = Cvat(cvat(tmp_path))
    assert dataset.classes == ("background", "bar", "disc")
    labels = dataset[0].label_map
    assert (labels[30:40] == 1).all()
    assert labels[2, 80:84].tolist() == [0, 2, 2, 0]
    assert labels[3, 80:84].tolist() == [0, 0, 2, 2]
    assert any("1 shapes have no area" in note for note in dataset.notes)
    over = Cvat(cvat(tmp_path, z=2))[0].label_map
    assert (over[:60, 20:60] == 2).sum() == 600
    assert dataset[0].image_id == 7


def test_cvat_turned_boxes_ellipses_and_subsets(tmp_path):
    dataset = Cvat(cvat(tmp_path), subset="Val", classes=["background", "disc", "bar"])
    assert len(dataset) == 1
    labels = dataset[0].label_map
    assert (labels[15:35, 45:55] == 2).all()  # turned by 90 degrees around (50, 25)
    assert abs((labels == 1).sum() - np.pi * 45) < 6
    boxes = CvatBoxes(str(tmp_path), subset="Val")[0].boxes
    np.testing.assert_allclose(boxes.xyxy, [[45, 15, 55, 35], [11, 35, 29, 45]], atol=1e-4)
    with pytest.raises(DataError, match=r"no image is of subset 'val'.*did you mean 'Val'"):
        Cvat(str(tmp_path), subset="val")


def test_cvat_faults_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"mask 3 \(disc\) of u/1.png: is no mask: found rle=1, 2, 3, 9"):
        Cvat(cvat(tmp_path, CVAT.replace("1, 2, 3, 2", "1, 2, 3, 9")))
    with pytest.raises(DataError, match=r"found 1 <track> of a video; export the task as 'CVAT for images 1.1'"):
        Cvat(cvat(tmp_path, "<annotations><track id='0'></track></annotations>"))
    with pytest.raises(DataError, match="no valid XML"):
        Cvat(cvat(tmp_path, CVAT[:300]))


# --------------------------------------------------------------------------- YOLO


def yolo(folder, lines):
    picture(folder / "images/train/k.png", (40, 80))
    (folder / "labels/train").mkdir(parents=True, exist_ok=True)
    (folder / "labels/train/k.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text("train: images/train\nnames: [disc, bar]\n")
    return str(folder)


def test_yolo_outlines_mixed_with_boxes(tmp_path):
    root = yolo(tmp_path, ["0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75", "1 0.5 0.9 1.0 0.2"])
    dataset = YoloMasks(root)
    assert dataset.classes == ("background", "disc", "bar")
    labels = dataset[0].label_map
    wanted = np.zeros((40, 80), np.uint8)
    wanted[10:30, 20:60] = 1
    wanted[32:40] = 2
    np.testing.assert_array_equal(labels, wanted)
    assert any("1 objects have a box and no outline; the box is filled" in note for note in dataset.notes)
    assert (YoloMasks(root, box_only="ignore")[0].label_map[32:] == 255).all()
    with pytest.raises(DataError, match=r"k.txt:2.*'bar' has a box and no outline"):
        YoloMasks(root, box_only="stop")
    boxes = YoloDataset(root)[0].boxes
    assert boxes.xyxy.tolist() == [[20, 10, 60, 30], [0, 32, 80, 40]]


def test_yolo_classes_by_name_in_another_order(tmp_path):
    root = yolo(tmp_path, ["0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"])
    labels = YoloMasks(root, classes=["bar", "background", "disc"])[0].label_map
    assert (labels == 2).sum() == 800
    assert (labels == 1).sum() == 3200 - 800


def test_darknet_lists_with_labels_beside_the_images(tmp_path):
    picture(tmp_path / "obj_train_data/f 0.png", (40, 80))
    (tmp_path / "obj_train_data/f 0.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    (tmp_path / "obj.names").write_text("disc\nbar\n")
    (tmp_path / "train.txt").write_text("data/obj_train_data/f 0.png\n")
    (tmp_path / "obj.data").write_text(
        "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    )
    dataset = YoloDataset(str(tmp_path))
    assert dataset.classes == ("disc", "bar")
    assert dataset[0].boxes.xyxy.tolist() == [[20, 10, 60, 30]]
    with pytest.raises(DataError, match="has no split 'valid'"):
        YoloDataset(str(tmp_path), split="val")


# --------------------------------------------------------------------------- a file a class


def binary(path, region, size=(64, 96), value=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size, np.uint8)
    mask[region] = value
    Image.fromarray(mask).save(path)


@pytest.mark.parametrize(
    ("pattern", "disc", "bar"),
    [
        ("masks/{class}/{name}.png", "masks/my disc/p_1.png", "masks/bar_b/p_1.png"),
        ("masks/{name}_{class}.png", "masks/p_1_my disc.png", "masks/p_1_bar_b.png"),
        ("png/task-{name}-annotation-*-tag-{class}-*.png", "png/task-p_1-annotation-3-by-1-tag-my disc-0.png",
         "png/task-p_1-annotation-3-by-1-tag-bar_b-0.png"),
    ],
)  # fmt: skip
def test_a_binary_file_for_each_class(tmp_path, pattern, disc, bar):
    picture(tmp_path / "images/p_1.jpg")
    picture(tmp_path / "images/bare.jpg")
    binary(tmp_path / disc, np.s_[:20], value=1)
    binary(tmp_path / bar, np.s_[10:30])
    classes = ["background", "my disc", "bar_b"]
    dataset = ClassMasks(str(tmp_path), pattern, classes=classes)
    assert [item.image.name for item in dataset.items] == ["p_1.jpg"]
    labels = dataset[0].label_map
    assert (labels[:10] == 1).all()
    assert (labels[10:30] == 2).all()
    assert (labels[30:] == 0).all()
    assert any("bare.jpg" in note for note in dataset.notes)
    soft = ClassMasks(str(tmp_path), pattern, classes=classes, above=127, unlabelled="background")
    assert len(soft) == 2
    assert (soft[1].label_map[:10] == 0).all()
    with pytest.raises(DataError, match=r"is of class 'bar_b', which is none of .*did you mean 'bar_a'"):
        ClassMasks(str(tmp_path), pattern, classes=["background", "my disc", "bar_a"])


def test_masks_of_no_image_and_patterns_that_fit_nothing_are_named(tmp_path):
    picture(tmp_path / "images/p.jpg")
    binary(tmp_path / "masks/q_disc.png", np.s_[:20])
    with pytest.raises(DataError, match=r"1 masks have no image: masks/q_disc.png"):
        ClassMasks(str(tmp_path), "masks/{name}_{class}.png")
    with pytest.raises(
        DataError, match=r"no file is called like 'masks/\{name\}\+\{class\}.png'; there are masks/q_disc.png"
    ):
        ClassMasks(str(tmp_path), "masks/{name}+{class}.png")
    with pytest.raises(ConfigError, match=r"wanted a path with \{name\} and \{class\}, once each"):
        ClassMasks(str(tmp_path), "masks/{name}.png")


# --------------------------------------------------------------------------- VOC's layout


def test_a_segmentation_export_of_cvat_in_vocs_layout(tmp_path):
    labels = np.random.default_rng(5).integers(0, 3, (64, 96)).astype(np.uint8)
    colors = np.array([[0, 0, 0], [250, 50, 83], [36, 179, 83]], np.uint8)
    picture(tmp_path / "JPEGImages/f.jpg")
    (tmp_path / "SegmentationClass").mkdir()
    Image.fromarray(colors[labels]).save(tmp_path / "SegmentationClass/f.png")
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/default.txt").write_text("f\n")
    with pytest.raises(DataError, match=r"VOC's 21 classes, not background, panel, wire; no labelmap.txt"):
        VocSegmentation(str(tmp_path), "default", classes=["background", "panel", "wire"])
    (tmp_path / "labelmap.txt").write_text("# label:color\nbackground:0,0,0::\npanel:250,50,83::\nwire:36,179,83::\n")
    for classes in (None, ["background", "panel", "wire"]):
        dataset = VocSegmentation(str(tmp_path), "default", classes=classes)
        assert dataset.classes == ("background", "panel", "wire")
        np.testing.assert_array_equal(dataset[0].label_map, labels)
    turned = VocSegmentation(str(tmp_path), "default", classes=["wire", "panel", "background"])
    np.testing.assert_array_equal(turned[0].label_map, 2 - labels)
