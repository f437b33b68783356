"""What the stored ids of Cityscapes and VOC mean."""

from __future__ import annotations

import numpy as np
from PIL import Image

from toolkit.data.datasets.cityscapes import Cityscapes
from toolkit.data.datasets.voc_segmentation import VocSegmentation


def save(path, array, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    if palette:
        picture.putpalette(palette)
    picture.save(path)


def test_ids_and_train_ids_of_cityscapes_say_the_same(tmp_path):
    # id, trainId of road, building, pole, sky, car, train, bicycle; sculpture-like ids and -1 are left out.
    pairs = {7: 0, 11: 2, 17: 5, 23: 10, 26: 13, 31: 16, 33: 18, 0: 255, 4: 255, 16: 255, 29: 255, 255: 255}
    ids = np.array([list(pairs)] * 2, np.uint8)
    train_ids = np.array([list(pairs.values())] * 2, np.uint8)
    stem = "val/bonn/bonn_1"
    save(tmp_path / f"leftImg8bit/{stem}_leftImg8bit.png", np.zeros((*ids.shape, 3), np.uint8))
    save(tmp_path / f"gtFine/{stem}_gtFine_labelIds.png", ids)
    save(tmp_path / f"gtFine/{stem}_gtFine_labelTrainIds.png", train_ids)
    for labels in ("labelIds", "labelTrainIds"):
        data = Cityscapes(str(tmp_path), "val", labels)
        np.testing.assert_array_equal(data[0].label_map, train_ids)
        assert data.classes[13] == "car"


def test_voc_masks_are_read_by_index_not_by_colour(tmp_path):
    labels = np.array([[0, 15, 255], [20, 1, 0]], np.uint8)
    save(tmp_path / "JPEGImages/a.jpg", np.zeros((2, 3, 3), np.uint8))
    save(tmp_path / "SegmentationClass/a.png", labels, [7] * 768)
    save(tmp_path / "SegmentationClassAug/a.png", labels[::-1])
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("a\n")
    np.testing.assert_array_equal(VocSegmentation(str(tmp_path), "val")[0].label_map, labels)
    augmented = VocSegmentation(str(tmp_path), "val", masks="SegmentationClassAug")
    np.testing.assert_array_equal(augmented[0].label_map, labels[::-1])
    assert augmented.classes[15] == "person"
