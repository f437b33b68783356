"""Forecasts of memory against what is counted while larger pictures are predicted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.analysis import forecast
from toolkit.analysis.device_memory import Memory
from toolkit.analysis.forecast import MemoryForecast, forecast_prediction, training_bytes
from toolkit.analysis.memory import most_alive
from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.errors import UserError
from toolkit.heads.pixel import PixelHead
from toolkit.inference import folder
from toolkit.models.vision_model import VisionModel
from toolkit.necks.skip import SkipNeck
from toolkit.samples import Batch


def dense() -> VisionModel:
    backbone = UNetEncoder(3, width=4, depth=3, padding="same", norm="batch")
    neck = SkipNeck(backbone.spec, norm="batch")
    return VisionModel(backbone, neck, PixelHead(neck.spec, 3), ("a", "b", "c"))


def counted(model: VisionModel, side: int) -> int:
    images = torch.zeros((1, 3, side, side), dtype=torch.uint8)
    sizes = torch.tensor([[side, side]])
    batch = Batch(images, sizes, sizes, ("a",))
    return most_alive(model.eval(), images, lambda _: model.predict(batch)).bytes


def test_a_larger_picture_takes_what_was_forecast() -> None:
    model = dense()
    found = forecast_prediction(model)
    for side in (384, 640):
        share = found.bytes((side, side)) / counted(model, side)
        assert 1.0 <= share <= 1.2 * forecast._RESERVE


def test_mode_and_random_state_stay() -> None:
    model = dense().train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    forecast_prediction(model)
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)


def test_bytes_grow_with_pixels_and_images() -> None:
    found = MemoryForecast(1000.0, 2.0)
    assert found.bytes((10, 20)) == 1400
    assert found.bytes((10, 20), 3) == 4200


def test_a_training_step_takes_more_for_more_images_and_pixels() -> None:
    model = dense()
    one, two, larger = (
        training_bytes(model, (side, side), images) or 0 for side, images in ((64, 1), (64, 2), (128, 1))
    )
    weights = sum(one.numel() * 4 for one in model.parameters())
    assert one > 3 * weights
    assert two - 3 * weights == pytest.approx(2 * (one - 3 * weights), rel=0.05)
    assert larger - 3 * weights == pytest.approx(4 * (one - 3 * weights), rel=0.05)
    assert next(model.parameters()).device.type == "cpu"


def test_a_picture_too_large_for_its_device_is_refused_with_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "device_memory", lambda _: Memory(total=1 << 30, free=1 << 20, ours=0))
    found, fits = MemoryForecast(0.0, 100.0), torch.zeros(1, 3, 102, 102)
    found.refuse_too_large(fits, [])
    with pytest.raises(
        UserError, match=r"1000x1000 pixels need about 95 MiB in this model, and 1 MiB are free.*shrink it to 102x102"
    ):
        found.refuse_too_large(torch.zeros(1, 3, 1000, 1000), ["predict with --tile auto"])


def test_too_large_pictures_of_a_folder_are_listed_and_the_others_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "device_memory", lambda _: Memory(total=1 << 30, free=1 << 20, ours=0))
    monkeypatch.setattr(folder, "LOOKED_AT_FROM", 64 * 64)
    large, small = (np.zeros((side, side, 3), np.uint8) for side in (640, 48))
    results = list(folder.predict(dense(), [large, small]))
    assert "--tile auto" in results[0].reason
    assert results[1].prediction is not None
