from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.data.images.read import read_image
from toolkit.report.figures import grid
from toolkit.samples import Boxes, Detections, LabelMap

CLASSES, PALETTE = ["sky", "road", "absent"], [(0, 128, 255), (220, 150, 30), (250, 1, 250)]


def test_a_grid_of_label_maps_shows_image_truth_and_prediction(tmp_path):
    image = np.full((50, 100, 3), 200, np.uint8)
    truth = np.zeros((50, 100), np.uint8)
    truth[:10] = 255
    prediction = LabelMap(torch.ones(50, 100, dtype=torch.uint8))
    path = grid([(image, truth, prediction)] * 2, PALETTE, CLASSES, tmp_path / "figures" / "grid.png", width=200)
    found = read_image(path)
    assert found.shape[1] == 3 * 200 + 4 * 6
    columns = [found[:, 6 + i * 206 : 206 + i * 206] for i in range(3)]
    pixels = 200 * 100 * 2  # two rows of 200 x 100
    assert (columns[0] == 200).all(2).sum() >= pixels
    assert (columns[1] == PALETTE[0]).all(2).sum() >= pixels * 0.8
    assert (columns[1] == (224, 224, 192)).all(2).sum() >= pixels * 0.2
    assert (columns[2] == PALETTE[1]).all(2).sum() >= pixels
    below = found[-25:]
    assert (below == PALETTE[0]).all(2).any()
    assert (below == PALETTE[1]).all(2).any()
    assert not (found == PALETTE[2]).all(2).any()


def test_a_grid_of_boxes_scales_them_with_the_picture(tmp_path):
    image = np.full((60, 80, 3), 120, np.uint8)
    truth = Boxes.of([[8, 10, 40, 50]], [0])
    found = Detections(torch.tensor([[8.0, 10, 40, 50], [1, 1, 5, 5]]), torch.tensor([0.9, 0.2]), torch.tensor([1, 0]))
    picture = read_image(grid([(image, truth, found)], PALETTE, CLASSES, tmp_path / "boxes.png", width=320))
    red = np.argwhere((picture[:-40, 332:652] == PALETTE[0]).all(2))
    assert (red.min(0)[1], red.max(0)[1]) == (pytest.approx(32, abs=2), pytest.approx(160, abs=2))
    last = picture[:-40, 658:]
    assert (last == PALETTE[1]).all(2).any()
    assert not (last == PALETTE[0]).all(2).any()


def test_pictures_of_different_shapes_and_no_rows(tmp_path):
    rows = [
        (np.zeros((h, w, 1), np.uint8), np.zeros((h, w), np.uint8), np.zeros((h, w), np.uint8))
        for h, w in [(10, 20), (40, 20)]
    ]
    assert read_image(grid(rows, (), CLASSES, tmp_path / "g.png", width=100)).shape[1] == 324
    with pytest.raises(ValueError, match="at least one row"):
        grid([], PALETTE, CLASSES, tmp_path / "none.png")
