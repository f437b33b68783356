"""Noise by place: any tiling draws what the whole picture draws, in any batch, and as often as it should."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import toolkit.heads  # noqa: F401  registers
from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.contracts import HEADS, DenseHead
from toolkit.inference.tiling.tiled import TiledPrediction
from toolkit.models.placed_dropout import dropped, placed_dropout
from toolkit.models.vision_model import VisionModel
from toolkit.necks.skip import SkipNeck
from toolkit.samples import Batch

DENSE = [name for name, cls in HEADS.items() if issubclass(cls, DenseHead)]


def test_draws_are_as_frequent_as_they_should_be_and_independent() -> None:
    whole = dropped(0.3, 1, 8, (200, 300), (0, 0))
    assert whole.float().mean() == pytest.approx(0.3, abs=0.003)
    assert (whole.float().mean((1, 2)) - 0.3).abs().max() < 0.01
    for other in (dropped(0.3, 2, 8, (200, 300), (0, 0)), whole.roll(1, 0), whole.roll(1, 1), whole.roll(1, 2)):
        assert (whole & other).float().mean() == pytest.approx(0.09, abs=0.003)


def test_a_piece_draws_what_the_whole_draws_there() -> None:
    whole = dropped(0.5, 1, 3, (40, 50), (0, 0))
    assert torch.equal(dropped(0.5, 1, 3, (7, 9), (11, 20)), whole[:, 11:18, 20:29])


def test_layers_drop_in_any_mode_and_come_back() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5)).eval()
    x = torch.ones(2, 64, 5, 6)
    with placed_dropout(list(net), 3) as noise:
        noise.begin(1)
        one = net(x)
        noise.begin(1)
        assert torch.equal(net(x), one)
        noise.begin(2)
        assert not torch.equal(net(x), one)
    assert torch.equal(one[0], one[1])  # every image of a batch draws the same
    assert set(one.unique().tolist()) == {0.0, 4.0}
    whole_channels = (one[0] == 0).flatten(1).all(1)
    assert 15 < whole_channels.sum() < 50
    assert torch.equal(net(x), x)


def model_of(name: str, samples: int = 4) -> VisionModel:
    torch.manual_seed(0)
    backbone = UNetEncoder(3, 4, 3, padding="same", dropout=0.5)
    neck = SkipNeck(backbone.spec)
    head = HEADS.find(name)(neck.spec, 3)  # type: ignore[call-arg]
    return VisionModel(backbone, neck, head, ["a", "b", "c"], samples=samples).eval()


def batch(number: int = 1, size: tuple[int, int] = (150, 170)) -> Batch:
    images = torch.randint(0, 256, (number, 3, *size), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    sizes = torch.tensor([size] * number)
    return Batch(images, sizes, sizes, tuple(map(str, range(number))))


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("tile", [80, 112, 4096])
def test_samples_in_tiles_are_those_of_the_whole_picture(name: str, tile: int) -> None:
    model = model_of(name)
    (whole,), (tiled,) = model.predict(batch()), TiledPrediction(model, tile)(batch())
    assert whole.uncertainty.max() > 1e-5  # type: ignore[union-attr]
    for one, other in zip(whole, tiled, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(other.float(), one.float(), atol=1e-5, rtol=1e-4)


def test_an_answer_does_not_depend_on_its_batch() -> None:
    model, two = model_of("pixel"), batch(2)
    together = model.predict(two)
    for i in range(2):
        one = slice(i, i + 1)
        (alone,) = model.predict(Batch(two.images[one], two.sizes[one], two.original_sizes[one], ("a",)))
        for found, expected in zip(together[i], alone, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
