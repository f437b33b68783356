"""A picture that does not fit fails alone, with what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.heads.pixel import PixelHead
from toolkit.inference.folder import predict
from toolkit.models.vision_model import VisionModel
from toolkit.necks.skip import SkipNeck


def test_the_others_are_predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, side in (("a", 16), ("b", 64), ("c", 16)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((side, side, 3), np.uint8))
    backbone = UNetEncoder(3, 4, 2, "same")
    neck = SkipNeck(backbone.spec)
    model = VisionModel(backbone, neck, PixelHead(neck.spec, 2), ["a", "b"])
    real = model.predict

    def small_only(batch: Any) -> Any:
        if batch.images.shape[-1] > 32:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(batch)

    monkeypatch.setattr(model, "predict", small_only)
    first, second, third = predict(model, tmp_path, batch_size=2)
    assert first.prediction is not None
    assert third.prediction is not None
    assert second.prediction is None
    assert "does not fit into the memory of cpu; 2.0 GiB more were asked for" in second.reason
    assert second.reason.endswith("predict with --tile auto; or --batch-size 1")
