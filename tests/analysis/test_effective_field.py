"""The effective field against fields worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from toolkit.analysis.effective_field import EffectiveField, effective_fields
from toolkit.errors import UserError


def ones(kernel: int, channels: int = 1, **options: int) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, 1, kernel, bias=False, **options)
    nn.init.ones_(convolution.weight)
    return convolution


def field(net: nn.Module, size: tuple[int, int], channels: int = 1, samples: int = 2, seed: int = 0) -> EffectiveField:
    (found,) = effective_fields(net, lambda images: {"out": net(images)}, channels, size, samples, seed)
    return found


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_one_convolution_of_ones_is_a_uniform_square(kernel: int) -> None:
    found = field(ones(kernel, 3, padding=kernel // 2), (15, 21), channels=3)
    wanted = np.zeros((15, 21), np.float32)
    half = kernel // 2
    wanted[7 - half : 8 + half, 10 - half : 11 + half] = 1
    assert np.array_equal(found.gradient, wanted)
    assert (found.cell, found.cells) == ((7, 10), (15, 21))
    assert found.center == pytest.approx((7, 10))
    assert found.side(1.0) == pytest.approx(kernel)
    assert found.radius(1.0) == pytest.approx(half * 2**0.5)
    assert found.extent() == (7 - half, 10 - half, 8 + half, 11 + half)


def test_stacked_convolutions_of_ones_are_repeated_convolutions_of_a_box() -> None:
    found = field(nn.Sequential(*(ones(3, padding=1) for _ in range(6))), (31, 31))
    line = np.ones(1)
    for _ in range(6):
        line = np.convolve(line, np.ones(3))
    wanted = np.outer(line, line) / line.max() ** 2
    assert np.allclose(found.gradient[9:22, 9:22], wanted, atol=1e-6)
    assert found.gradient.sum() == pytest.approx(wanted.sum(), rel=1e-5)


def test_stride_and_dilation_leave_holes_where_nothing_is_read() -> None:
    found = field(ones(3, stride=2, padding=2, dilation=2), (16, 16))
    rows = np.flatnonzero(found.gradient.any(1))
    assert rows.tolist() == [6, 8, 10]  # cell 4 of 8 at stride 2, padding 2: 4 * 2 - 2 + (0, 2, 4)


def test_zero_outside_the_theoretical_field_and_smaller_than_it() -> None:
    layers: list[nn.Module] = []
    for channels in (1, 8, 8, 8):
        layers += [nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    found = field(nn.Sequential(*layers, nn.MaxPool2d(2), nn.Conv2d(8, 4, 3, padding=1)), (64, 64))
    # 1 + 4 * 2 = 9, pooled 10 at jump 2, and 4 more pixels: 14, around the cell that begins at pixel 32.
    outside = found.gradient.copy()
    outside[32 - 6 : 34 + 6, 32 - 6 : 34 + 6] = 0
    assert not outside.any()
    assert found.gradient.any()
    assert found.side(0.95) < 14


def test_the_field_grows_more_slowly_than_the_theory() -> None:
    """Luo et al.: by the square root of the number of layers, where the theoretical field grows in proportion."""
    sides = []
    for depth in (4, 16):
        layers = [nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(depth)]
        sides.append(field(nn.Sequential(*layers), (65, 65), channels=8).side(0.95))
    theory = (1 + 2 * 16) / (1 + 2 * 4)
    assert 1.5 < sides[1] / sides[0] < 0.75 * theory


def test_several_outputs_and_the_same_numbers_each_time() -> None:
    net = nn.ModuleList([nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1)])

    def outputs(images: torch.Tensor) -> dict[str, torch.Tensor]:
        fine = net[0](images).relu()
        return {"fine": fine, "coarse": net[1](fine)}

    first = effective_fields(net, outputs, 3, (16, 20), samples=3, seed=5)
    again = effective_fields(net, outputs, 3, (16, 20), samples=3, seed=5)
    assert [f.name for f in first] == ["fine", "coarse"]
    assert [f.cells for f in first] == [(16, 20), (8, 10)]
    assert all(np.array_equal(a.gradient, b.gradient) for a, b in zip(first, again, strict=True))
    assert all(f.gradient.max() == 1 and f.gradient.min() >= 0 for f in first)
    other = effective_fields(net, outputs, 3, (16, 20), samples=3, seed=6)
    assert not np.array_equal(first[1].gradient, other[1].gradient)


def test_the_net_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    net[1].eval()
    net[0].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    field(net, (9, 9))
    assert [module.training for module in net] == [True, False, True]
    assert [parameter.requires_grad for parameter in net[0].parameters()] == [True, False]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_dead_nets_are_said_to_be_dead() -> None:
    dead = nn.Conv2d(1, 1, 3)
    nn.init.zeros_(dead.weight)
    with pytest.raises(UserError, match="no gradient reaches the input"):
        field(dead, (9, 9))
