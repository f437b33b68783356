"""Every registered dense head can be tiled and sampled: both cut and average raw outputs and ask the head what they mean."""

from __future__ import annotations

import pytest
import torch

import toolkit.heads  # noqa: F401  registers
from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.contracts import HEADS, DenseHead
from toolkit.inference.tiling.tiled import TiledPrediction
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Batch, Prediction

DENSE = [name for name, cls in HEADS.items() if issubclass(cls, DenseHead)]


def model_of(name: str) -> VisionModel:
    torch.manual_seed(0)
    backbone = UNetEncoder(3, width=4, depth=2, padding="same", dropout=0.5)
    head = HEADS.find(name)(backbone.spec, 3)  # type: ignore[call-arg]
    return VisionModel(backbone, None, head, ["a", "b", "c"]).eval()


def batch() -> Batch:
    images = torch.randint(0, 256, (1, 3, 70, 90), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    size = torch.tensor([[70, 90]])
    return Batch(images, size, size, ("a.png",))


def values(prediction: Prediction) -> torch.Tensor:
    return prediction[0].float()


def test_there_are_such_heads() -> None:
    assert {"pixel", "pixel_values"} <= set(DENSE)


@pytest.mark.parametrize("name", DENSE)
def test_tiles_give_what_the_whole_picture_gives(name: str) -> None:
    model = model_of(name)
    (whole,), (tiled,) = model.predict(batch()), TiledPrediction(model, 48)(batch())
    torch.testing.assert_close(values(tiled), values(whole), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", DENSE)
def test_samples_give_an_uncertainty_of_every_pixel(name: str) -> None:
    model = model_of(name)
    model.samples = 5
    (found,) = model.predict(batch())
    assert found.uncertainty is not None  # type: ignore[union-attr]
    assert tuple(found.uncertainty.shape) == (70, 90)  # type: ignore[union-attr]
    assert (found.uncertainty > 0).any()  # type: ignore[union-attr]
    torch.testing.assert_close(values(model.predict(batch())[0]), values(found))
