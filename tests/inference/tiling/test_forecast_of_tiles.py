"""What a tile is said to take is not less than what the process grows by."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.heads.pixel import PixelHead
from toolkit.inference.tiling.tiled import TiledPrediction
from toolkit.layers.row_bands import in_row_bands
from toolkit.models.vision_model import VisionModel
from toolkit.necks.skip import SkipNeck

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
