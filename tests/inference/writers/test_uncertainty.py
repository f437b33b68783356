from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from toolkit.errors import ConfigError
from toolkit.inference.writers.label_maps import UncertaintyWriter
from toolkit.inference.writers.outputs import Outputs
from toolkit.samples import LabelMap

IMAGE = np.zeros((2, 3, 3), np.uint8)
LABELS = torch.zeros(2, 3, dtype=torch.uint8)


def test_gray_is_the_deviation_on_a_fixed_scale(tmp_path):
    variance = torch.tensor([[0.0, 0.25, 0.0625], [0.01, 0.3, 1e-9]])
    (path,) = UncertaintyWriter(tmp_path, ["a"]).add("x", IMAGE, LabelMap(LABELS, None, variance))
    assert path == tmp_path / "x_uncertainty.png"
    picture = Image.open(path)
    assert picture.mode == "L"
    assert np.asarray(picture).tolist() == [[0, 255, 128], [51, 255, 0]]


def test_a_prediction_of_one_pass_has_none(tmp_path):
    outputs = Outputs(tmp_path, ["uncertainty"], ["a"])
    with pytest.raises(ConfigError, match=r"model\.samples above 1"):
        outputs.add("x", IMAGE, LabelMap(LABELS))
    assert not list(tmp_path.iterdir())


def test_it_is_written_only_when_asked_for(tmp_path):
    written = Outputs(tmp_path, None, ["a"]).add("x", IMAGE, LabelMap(LABELS, None, torch.zeros(2, 3)))
    assert not [path for path in written.files if "uncertainty" in path.name]
