"""The context module: its published sizes, and that it starts as the identity."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from toolkit.contracts import FeaturePyramid, PyramidSpec
from toolkit.errors import PartsError
from toolkit.layers.identity import identity_
from toolkit.necks.context import Context


def run(neck: Context, features: torch.Tensor) -> torch.Tensor:
    spec = PyramidSpec((features.shape[1],), (8,))
    with torch.no_grad():
        return neck(FeaturePyramid((features,), spec, (features.shape[2] * 8, features.shape[3] * 8))).maps[0]


def module(channels: int, **arguments: object) -> Context:
    return Context(PyramidSpec((channels,), (8,)), channels, project=False, closing=True, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("channels", "layers", "width", "parameters"),
    [
        (21, 8, "large", 6_803_139),
        (21, 8, "basic", 28_392),
        (11, 8, "basic", 7_832),
        (11, 7, "basic", 6_732),
        (19, 10, "basic", 29_792),
    ],
)
def test_parameters_are_those_of_the_released_nets(channels: int, layers: int, width: str, parameters: int) -> None:
    neck = module(channels, layers=layers, width=width)
    assert sum(p.numel() for p in neck.parameters()) == parameters


@pytest.mark.parametrize("padding", ["layer", "input"])
@pytest.mark.parametrize("layers", [7, 8, 10])
def test_the_basic_module_starts_as_an_exact_identity(layers: int, padding: str) -> None:
    features = torch.rand(2, 5, 11, 9)
    neck = module(5, layers=layers, padding=padding)
    assert torch.equal(run(neck, features), features)
    signed = torch.randn(2, 5, 11, 9)
    assert torch.equal(run(neck, signed), F.relu(signed))


def test_the_large_module_starts_as_the_identity_up_to_rounding() -> None:
    features = torch.rand(1, 3, 9, 9)
    neck = module(3, width="large", padding="input")
    assert float((run(neck, features) - features).abs().max()) <= 1e-6
    assert torch.equal(run(neck.double(), features.double()), features.double())
    centres = [float(c.weight[0, 0, 1, 1]) for c in neck.convolutions]
    assert centres == [1 / 2, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 32]


def test_the_released_initialisation_is_the_identity_plus_noise() -> None:
    features = torch.rand(1, 21, 24, 24)
    neck = module(21, init="released")
    weight = neck.convolutions[3].weight.detach()
    centre = weight[:, :, 1, 1]
    assert torch.equal(centre.diagonal(), torch.ones(21))
    others = weight.flatten()[weight.flatten() != 1]
    assert float(others.std()) == pytest.approx(0.01, rel=0.05)
    # Measured on the released filler with 21 classes and inputs from 0 to 1: 0.149 on average.
    assert float((run(neck, features) - features).abs().mean()) == pytest.approx(0.15, abs=0.08)


def test_padding_once_and_padding_each_layer_differ_only_near_the_border() -> None:
    torch.manual_seed(3)
    each = module(2, init="default")
    once = module(2, init="default", padding="input")
    once.load_state_dict(each.state_dict())
    features = torch.randn(1, 2, 90, 90)
    a, b = run(each, features), run(once, features)
    torch.testing.assert_close(a[..., 33:57, 33:57], b[..., 33:57, 33:57])
    assert not torch.allclose(a[..., :10, :10], b[..., :10, :10])


def test_the_receptive_field_is_67_cells() -> None:
    neck = module(1, init="default").double()
    for layer in neck.convolutions:
        torch.nn.init.constant_(layer.weight, 1.0)
    features = torch.rand(1, 1, 81, 81, dtype=torch.float64, requires_grad=True)
    spec = PyramidSpec((1,), (8,))
    neck(FeaturePyramid((features,), spec, (648, 648))).maps[0][0, 0, 40, 40].backward()
    reached = features.grad[0, 0].abs().sum(0).nonzero().flatten()
    assert (int(reached[0]), int(reached[-1])) == (40 - 33, 40 + 33)


def test_the_projection_brings_any_width_to_the_classes() -> None:
    neck = Context(PyramidSpec((64, 4096), (4, 8)), 11)
    assert neck.spec == PyramidSpec((11,), (8,))
    assert float(neck.project.weight.std()) == pytest.approx(0.001, rel=0.05)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(PartsError, match="has 64 channels, but channels is 11; set project: true"):
        Context(PyramidSpec((64,), (8,)), 11, project=False)
    with pytest.raises(PartsError, match="the large module has 8 layers, not 10"):
        Context(PyramidSpec((64,), (8,)), 11, layers=10, width="large")
    with pytest.raises(ValueError, match="3 groups must divide"):
        identity_(torch.empty(4, 3, 1, 1), 3)
