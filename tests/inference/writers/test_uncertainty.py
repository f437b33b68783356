from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from toolkit.errors import ConfigError
from toolkit.inference.writers.outputs import Outputs
from toolkit.inference.writers.uncertainty import DeviationWriter, HeatWriter
from toolkit.samples import LabelMap

IMAGE = np.zeros((2, 3, 3), np.uint8)
LABELS = torch.zeros(2, 3, dtype=torch.uint8)


def test_gray_is_the_deviation_on_a_fixed_scale(tmp_path):
    variance = torch.tensor([[0.0, 0.25, 0.0625], [0.01, 0.3, 1e-9]])
    (path,) = DeviationWriter(tmp_path, ["a"]).add("x", IMAGE, LabelMap(LABELS, None, variance))
    assert path == tmp_path / "x_deviation.png"
    picture = Image.open(path)
    assert picture.mode == "L"
    assert np.asarray(picture).tolist() == [[0, 255, 128], [51, 255, 0]]


@pytest.mark.parametrize("name", ["deviation", "information"])
def test_a_prediction_of_one_pass_has_none(tmp_path, name):
    outputs = Outputs(tmp_path, [name], ["a"])
    with pytest.raises(ConfigError, match=rf"--format {name}: this model predicts in one pass.*model\.samples above 1"):
        outputs.add("x", IMAGE, LabelMap(LABELS, entropy=torch.zeros(2, 3)))
    assert not list(tmp_path.iterdir())


def test_they_are_written_only_when_asked_for(tmp_path):
    full = LabelMap(LABELS, None, torch.zeros(2, 3), torch.zeros(2, 2, 3).half(), torch.zeros(2, 3), torch.zeros(2, 3))
    written = Outputs(tmp_path, None, ["a", "b"]).add("x", IMAGE, full)
    assert [path.name for path in written.files] == ["x.png", "x_overlay.jpg"]


def test_bits_come_back_within_half_a_step_and_their_unit_is_in_the_file(tmp_path):
    bits = torch.rand(40, 50, generator=torch.Generator().manual_seed(0)) * 7.994
    found = LabelMap(LABELS, entropy=bits, mutual_information=bits / 2)
    outputs = Outputs(tmp_path, ["uncertainty", "information"], [str(i) for i in range(255)])
    outputs.add("x", IMAGE, found)
    for name, expected in (("uncertainty", bits), ("information", bits / 2)):
        picture = Image.open(tmp_path / f"x_{name}.png")
        assert picture.mode == "I;16"
        assert picture.text["unit"].endswith("number / 8192 bits")
        assert np.abs(np.asarray(picture) / 8192 - expected.numpy()).max() <= 1 / 16384 + 1e-6
    cv2 = pytest.importorskip("cv2")
    assert np.array_equal(
        cv2.imread(str(tmp_path / "x_uncertainty.png"), -1), np.asarray(Image.open(tmp_path / "x_uncertainty.png"))
    )


def test_heat_is_on_the_scale_of_the_number_of_classes(tmp_path):
    image = np.full((80, 400, 3), 90, np.uint8)
    bits = torch.zeros(80, 400)
    bits[:, 200:] = 2.0
    (path,) = HeatWriter(tmp_path, ["a", "b", "c", "d"]).add("x", image, LabelMap(torch.zeros(80, 400), entropy=bits))
    drawn = np.asarray(Image.open(path))
    assert drawn.shape[1] == 400
    assert drawn.shape[0] > 80
    left, right = drawn[40, 100].astype(int), drawn[40, 300].astype(int)
    assert right[0] > 200 > 120 > left[0]  # four classes alike are brightest
    assert left.max() - left.min() < 25  # one class alone stays gray
