from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from toolkit.contracts import Dataset
from toolkit.data.classes.frequencies import class_counts, count_classes, median_frequency_weights
from toolkit.errors import DataError
from toolkit.samples import Sample

# CamVid's 367 training label maps; Sky, Building, Pole, Road, Pavement, Tree, SignSymbol, Fence, Car, Pedestrian,
# Bicyclist. Computed independently from the same files.
PIXELS = [10682767, 14750079, 623349, 20076880, 2845085, 6166762, 743859, 714595, 3719877, 405385, 184967]
IMAGES = [366, 365, 366, 367, 349, 319, 351, 173, 360, 317, 201]
WEIGHTS = {
    "per_image_all_pixels": [0.2793, 0.2017, 4.7865, 0.1490, 1.0, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587],
    "per_image": [0.2794, 0.2018, 4.7889, 0.1491, 1.0, 0.4235, 3.8464, 1.9798, 0.7890, 6.3847, 8.8193],
    "global": [0.2663, 0.1929, 4.5642, 0.1417, 1.0, 0.4614, 3.8248, 3.9814, 0.7648, 7.0182, 15.3816],
}


@pytest.fixture(scope="module")
def camvid_counts(real_data):
    paths = sorted((real_data("camvid") / "annotations" / "train").glob("*.png"))
    assert len(paths) == 367
    labels = (np.asarray(Image.open(path)) for path in paths)
    return count_classes((np.where(label == 11, 255, label).astype(np.uint8) for label in labels), 11)


def test_counts_of_real_label_maps(camvid_counts):
    assert camvid_counts.pixels.tolist() == PIXELS
    assert camvid_counts.images.tolist() == IMAGES
    assert camvid_counts.all_around.tolist() == [n * 360 * 480 for n in IMAGES]


@pytest.mark.parametrize("definition", list(WEIGHTS))
def test_median_frequency_weights_of_real_label_maps(camvid_counts, definition):
    assert median_frequency_weights(camvid_counts, definition) == pytest.approx(WEIGHTS[definition], abs=5.1e-5)


MAPS = [np.array([[0, 0, 0, 1]], np.uint8), np.array([[0, 0, 255, 3]], np.uint8)]


class Two(Dataset):
    classes = ("a", "b", "c", "d")

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return Sample(np.zeros((1, 4, 3), np.uint8), f"{index}.png", index, (1, 4), MAPS[index])


def test_by_hand_with_a_class_that_never_occurs():
    counts = class_counts(Two())
    assert counts.pixels.tolist() == [5, 1, 0, 1]
    assert counts.labelled_around.tolist() == [7, 4, 0, 3]
    assert counts.all_around.tolist() == [8, 4, 0, 4]
    # Frequencies 5/8, 1/4, 1/4; then 5/7, 1/4, 1/3; then 5/7, 1/7, 1/7.
    assert median_frequency_weights(counts) == pytest.approx([0.4, 1, 1, 1])
    assert median_frequency_weights(counts, "per_image") == pytest.approx([7 / 15, 4 / 3, 1, 1])
    assert median_frequency_weights(counts, "global") == pytest.approx([0.2, 1, 1, 1])


def test_wrong_labels_and_empty_sets_are_refused():
    with pytest.raises(DataError, match=r"label map 1: holds labels 3, but labels are 0\.\.2"):
        count_classes(MAPS, 3)
    with pytest.raises(DataError, match="every pixel"):
        median_frequency_weights(count_classes([np.full((2, 2), 255, np.uint8)], 3))
