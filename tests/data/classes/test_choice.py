"""Classes chosen from the data's own by name: some, several as one, others left out of everything; several data sets."""

import json

import numpy as np
import pytest
import torch
from outlined_data import coco, picture
from PIL import Image

from toolkit.data.classes.choice import by_name, chosen, class_choice
from toolkit.data.datasets.class_masks import ClassMasks
from toolkit.data.datasets.coco import CocoDataset
from toolkit.data.datasets.coco_masks import CocoMasks
from toolkit.data.datasets.image_folder import ImageFolder
from toolkit.data.datasets.image_masks import ImageMasks
from toolkit.data.datasets.joined import Joined
from toolkit.data.datasets.yolo import YoloDataset
from toolkit.data.loading.sampling import RepeatFactors
from toolkit.errors import ConfigError, DataError
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.samples import Detections, Truth

NAMES = ("cup", "leaf", "bolt")
"""Names of the labels of the data that the tests below choose from."""


def boxes(folder, rows=None):
    """A COCO file of one image with boxes of categories 4 (cup), 7 (leaf) and 9 (bolt)."""
    rows = rows or [(4, [2, 2, 10, 10]), (7, [20, 20, 12, 8]), (9, [40, 10, 20, 20]), (4, [70, 40, 9, 9])]
    found = [{"category_id": number, "bbox": box, "area": box[2] * box[3]} for number, box in rows]
    return CocoDataset(**coco(folder, found, ((4, "cup"), (7, "leaf"), (9, "bolt"))))


def rows_of(dataset, index=0):
    own = dataset[index].boxes
    return sorted(
        (dataset.classes[label], *box)
        for label, box, crowd in zip(own.labels.tolist(), own.xyxy.tolist(), own.crowd, strict=True)
        if not crowd
    )


def test_some_classes_and_several_as_one(tmp_path):
    whole = boxes(tmp_path)
    some = chosen(whole, class_choice({"leaf": "leaf", "cup": ["cup"]}))
    assert some.classes == ("leaf", "cup")
    assert rows_of(some) == [row for row in rows_of(whole) if row[0] != "bolt"]
    assert some.category_ids == (7, 4)
    assert any("not chosen: bolt (1): left out" in note for note in some.notes)
    one = chosen(whole, class_choice({"thing": ["cup", "bolt"]}))
    assert rows_of(one) == sorted(("thing", *row[1:]) for row in rows_of(whole) if row[0] != "leaf")
    assert any("class 'thing' is made of cup (2), bolt (1)" in note for note in one.notes)


def test_ignored_boxes_are_regions_of_every_class(tmp_path):
    part = chosen(boxes(tmp_path), class_choice({"cup": "cup", "leaf": "leaf", "ignore": "bolt"}))
    own = part[0].boxes
    assert own.labels[own.crowd].tolist() == [0, 1]
    assert own.xyxy[own.crowd].tolist() == [[40, 10, 60, 30]] * 2
    assert part.index.class_counts(2).tolist() == [2, 1]


@pytest.mark.parametrize(("ignored", "precision"), [(True, 1.0), (False, 0.5)])
def test_a_detection_on_an_ignored_box_is_neither_right_nor_wrong(tmp_path, ignored, precision):
    mapping = {"leaf": "leaf", **({"ignore": "bolt"} if ignored else {})}
    part = chosen(boxes(tmp_path), class_choice(mapping))
    evaluator = CocoEvaluator(["leaf"])
    found = Detections(
        torch.tensor([[20.0, 20, 32, 28], [41, 11, 59, 29]]), torch.tensor([0.5, 0.9]), torch.tensor([0, 0])
    )
    evaluator.update([found], [Truth.of(part[0])])
    assert evaluator.compute()["AP50"] == pytest.approx(precision, abs=0.01)


def test_the_index_says_what_each_sample_says(tmp_path):
    whole = boxes(tmp_path)
    choice = class_choice({"a": ["leaf", "cup"], "ignore": ["bolt"]})
    one = chosen(whole, choice)[0].boxes
    other = whole[0].boxes.relabelled(np.array([0, 0, 255]), 1)
    for field, own in zip(one, other, strict=True):
        np.testing.assert_array_equal(field, own)


def masks(folder, names=("background", *NAMES)):
    labels = np.random.default_rng(0).integers(0, len(names), (20, 30)).astype(np.uint8)
    labels[0, :5] = 255
    picture(folder / "images/a.png", (20, 30))
    (folder / "masks").mkdir()
    Image.fromarray(labels).save(folder / "masks/a.png")
    return ImageMasks(list(names), str(folder)), labels


def test_pixels_are_chosen_merged_ignored_and_the_rest_is_background(tmp_path):
    whole, labels = masks(tmp_path)
    part = chosen(whole, class_choice({"background": [], "thing": ["cup", "leaf"], "ignore": ["bolt"]}))
    wanted = np.select([labels == 255, labels == 3, (labels == 1) | (labels == 2)], [255, 255, 1], 0)
    np.testing.assert_array_equal(part[0].label_map, wanted)
    assert any("not chosen: background: their pixels are background" in note for note in part.notes)
    np.testing.assert_array_equal(part.subset([0])[0].label_map, wanted)
    with pytest.raises(
        DataError, match=r"does not say what becomes of the pixels of background, bolt; .*background: \[\]"
    ):
        chosen(whole, class_choice({"thing": ["cup", "leaf"]}))


def test_whole_images_of_other_classes_are_left_out(tmp_path):
    for name in ("cat", "dog", "cow"):
        picture(tmp_path / name / "1.png")
    part = chosen(ImageFolder(["cat", "cow", "dog"], str(tmp_path)), class_choice({"pet": ["cat", "dog"]}))
    assert [(part[n].name, part[n].image_label) for n in range(len(part))] == [("cat/1.png", 0), ("dog/1.png", 0)]


def test_names_in_two_entries_and_of_nothing_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="'car' stands in 'a' and in 'ignore'"):
        class_choice({"a": ["car"], "ignore": ["car"]})
    with pytest.raises(ConfigError, match="names no class"):
        class_choice({"ignore": ["car"]})
    with pytest.raises(DataError, match=r"none of car, truck is a class of the data, which has cup, leaf, bolt"):
        chosen(boxes(tmp_path), class_choice({"vehicle": ["car", "truck"]}))
    assert chosen(boxes(tmp_path), class_choice({"a": ["cup", "cap"]})).absent_classes == ("cap",)


def test_splits_with_other_tables_are_joined_by_name(tmp_path):
    other = CocoDataset(**coco(tmp_path, [{"category_id": 1, "bbox": [2, 2, 10, 10]}], ((0, "bolt"), (1, "cup"))))
    joined = by_name(other, NAMES)
    assert joined.classes == NAMES
    assert rows_of(joined) == rows_of(other)
    assert any("its table lacks leaf" in note for note in joined.notes)
    assert by_name(other, ("cup", "leaf")).classes == ("cup", "leaf")  # it has no bolt
    assert by_name(other, ("bolt", "leaf")) is other
    whole, labels = masks(tmp_path / "m")
    turned = by_name(whole, ("bolt", "leaf", "cup", "background"))
    np.testing.assert_array_equal(turned[0].label_map[labels < 255], 3 - labels[labels < 255])


# --------------------------------------------------------------------------- several data sets


def test_several_data_sets_are_one(tmp_path):
    one = boxes(tmp_path / "a")
    picture(tmp_path / "b/images/train/0.png")
    (tmp_path / "b/labels/train").mkdir(parents=True)
    (tmp_path / "b/labels/train/0.txt").write_text("1 0.5 0.5 0.25 0.5\n")
    two = YoloDataset(str(tmp_path / "b"), classes=["leaf", "stone"])
    joined = Joined([one, two])
    assert joined.classes == ("cup", "leaf", "bolt", "stone")
    assert [joined[n].name for n in range(2)] == ["a/pics/0.png", "b/images/train/0.png"]
    assert rows_of(joined, 0) == rows_of(one)
    assert rows_of(joined, 1) == [("stone", 36, 16, 60, 48)]
    assert joined.files(1)[0] == tmp_path / "b/images/train/0.png"
    assert [joined[n].image_id for n in range(2)] == [-1, -1]
    assert any("ids of images are not kept" in note for note in joined.notes)
    assert joined.subset([1])[0].name == "b/images/train/0.png"
    with pytest.raises(DataError, match="the data sets name stone, which are none of the classes"):
        Joined([one, two], classes=list(NAMES))
    with pytest.raises(ConfigError, match="1 weights for 2 data sets"):
        Joined([one, two], [1.0])
    chosen_of_all = chosen(joined, class_choice({"thing": ["cup", "stone"]}))
    assert rows_of(chosen_of_all, 1) == [("thing", 36, 16, 60, 48)]


def test_weights_are_kept_in_every_epoch(tmp_path):
    many = CocoMasks(**coco(tmp_path / "a", [], images=6))
    few = CocoMasks(**coco(tmp_path / "b", [], images=2))
    joined = Joined([many, few], [1.0, 3.0])
    draws = RepeatFactors(joined.repeats, seed=3)
    drawn = np.array([draws.key(place)[1] for place in range(24 * 5)]) < 6
    assert drawn.reshape(5, 24).sum(1).tolist() == [6] * 5
    again = RepeatFactors(joined.repeats, seed=3)
    assert again.key(77) == draws.key(77)  # entered anywhere


def test_classes_that_only_one_has_are_not_absent(tmp_path):
    binary = tmp_path / "c"
    picture(binary / "images/p.png")
    (binary / "masks/dot").mkdir(parents=True)
    Image.fromarray(np.ones((64, 96), np.uint8)).save(binary / "masks/dot/p.png")
    joined = Joined([CocoMasks(**coco(tmp_path / "a", [])), ClassMasks(str(binary), "masks/{class}/{name}.png")])
    assert joined.classes == ("background", "disc", "bar", "dot")
    assert joined.absent_classes == ()
    assert (joined[1].label_map == 3).all()
    assert json.dumps(joined.absent_classes) == "[]"
