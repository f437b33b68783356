"""A model whose forward pass is handed over answers as itself, whatever its head is and whatever is asked of it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from noise_detectors import noise, tiny_detector
from tiny_export import tiny_image, tiny_unet

from toolkit.export.engine_model import EngineModel
from toolkit.export.engines import TorchPass
from toolkit.inference.tiling.boxes import TiledBoxes
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Detections, Sample, collate


def handed_over(model: VisionModel) -> EngineModel:
    other = copy.deepcopy(model)
    return EngineModel(other, TorchPass(other, "torch"))


@pytest.mark.parametrize("style", ["fpn", "2015"])
def test_a_detector_answers_as_itself_whole_in_tiles_and_with_other_limits(style: str) -> None:
    model = tiny_detector(style)
    other, batch = handed_over(model), noise([(64, 96), (50, 41)])
    with torch.inference_mode():
        assert same(model.predict(batch), other.predict(batch)) > 0
        for one in (model, other):
            one.head.limit_detections(count=3)
        assert same(model.predict(batch), other.predict(batch)) <= 6
        single = noise([(160, 200)])
        assert same(TiledBoxes(model, 128, 32)(single), TiledBoxes(other, 128, 32)(single)) > 0


def same(wanted: list, found: list) -> int:
    for mine, theirs in zip(wanted, found, strict=True):
        assert isinstance(mine, Detections)
        assert torch.equal(mine.labels, theirs.labels)
        torch.testing.assert_close(mine.boxes, theirs.boxes, rtol=0, atol=1e-3)
        torch.testing.assert_close(mine.scores, theirs.scores, rtol=0, atol=1e-5)
    return sum(len(one.scores) for one in found)


@pytest.mark.parametrize("make", [tiny_image, tiny_unet])
def test_other_heads_answer_as_themselves(make: object) -> None:
    model = make()  # type: ignore[operator]
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (37, 51, model.in_channels), np.uint8) for _ in range(2)]
    batch = collate([Sample(one, str(place), place, (37, 51)) for place, one in enumerate(pictures)])
    for mine, theirs in zip(model.predict(batch), handed_over(model).predict(batch), strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=0, atol=1e-6)
