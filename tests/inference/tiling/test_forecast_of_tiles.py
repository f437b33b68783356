"""What a tile is said to take is not less than what the process grows by."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import toolkit.inference.tiling.tiled as tiled_module
from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.heads.pixel import PixelHead
from toolkit.inference.tiling.tiled import MEMORY, TiledPrediction
from toolkit.layers.row_bands import in_row_bands
from toolkit.models.vision_model import VisionModel
from toolkit.necks.skip import SkipNeck
from toolkit.samples import Batch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def kilobytes(name: str) -> int:
    """A number of the process's memory, from the system."""
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(name))


def forget_the_peak() -> None:
    try:
        RESET.write_text("5")
    except OSError as error:
        pytest.skip(f"the peak of the process's memory cannot be measured anew ({error})")


@pytest.mark.slow
@pytest.mark.parametrize("width", [2, 16])
def test_a_process_grows_by_no_more_than_forecast(width: int) -> None:
    torch.manual_seed(0)
    backbone = UNetEncoder(3, width, 2, "same")
    neck = SkipNeck(backbone.spec)
    model = VisionModel(backbone, neck, PixelHead(neck.spec, 3), ["a", "b", "c"]).eval()
    tiled = TiledPrediction(model)
    size = (1536, 1024)
    forecast = tiled._forecast.bytes(size)
    forget_the_peak()
    before = kilobytes("VmRSS")
    with torch.inference_mode(), in_row_bands():
        tiled._whole_tile(tiled._black(size))
    assert 1024 * (kilobytes("VmHWM") - before) <= forecast


def test_a_picture_no_larger_than_the_forecast_would_measure_needs_no_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    backbone = UNetEncoder(3, 2, 2, "same")
    neck = SkipNeck(backbone.spec)
    model = VisionModel(backbone, neck, PixelHead(neck.spec, 3), ["a", "b", "c"]).eval()
    measured: list[object] = []
    real = tiled_module.tile_memory
    monkeypatch.setattr(tiled_module, "tile_memory", lambda *arguments: measured.append(1) or real(*arguments))
    for memory, side, passes in ((MEMORY, 256, 0), (MEMORY, 264, 1), (MEMORY // 2, 256, 2)):
        picture = torch.zeros((1, 3, 64, side), dtype=torch.uint8)
        sizes = torch.tensor([[64, side]])
        TiledPrediction(model, memory=memory)(Batch(picture, sizes, sizes, ("a",)))
        assert len(measured) == passes
