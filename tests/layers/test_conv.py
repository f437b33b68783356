from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from toolkit.layers.conv import ConvNormAct
from toolkit.layers.init import he_normal_


@pytest.mark.parametrize(
    ("arguments", "cells"),
    [
        ({}, (9, 14)),
        ({"padding": "valid"}, (7, 12)),
        ({"dilation": 2}, (9, 14)),
        ({"dilation": 2, "padding": "valid"}, (5, 10)),
        ({"kernel_size": 7, "dilation": 4}, (9, 14)),
        ({"stride": 2}, (5, 7)),
        ({"kernel_size": 1, "stride": 2}, (5, 7)),
    ],
)
def test_sizes(arguments: dict[str, Any], cells: tuple[int, int]) -> None:
    assert ConvNormAct(2, 3, **arguments)(torch.zeros(2, 2, 9, 14)).shape == (2, 3, *cells)


def test_a_bias_stands_where_nothing_normalises_it_away() -> None:
    assert ConvNormAct(2, 3).conv.bias is None
    assert ConvNormAct(2, 3, norm="none").conv.bias is not None
    assert ConvNormAct(2, 3, bias=True).conv.bias is not None


def test_it_is_the_three_layers_in_this_order() -> None:
    block = ConvNormAct(2, 3).train()
    x = torch.randn(4, 2, 6, 6)
    expected = nn.functional.conv2d(x, block.conv.weight, padding=1)
    expected = (expected - expected.mean((0, 2, 3), keepdim=True)) / (
        expected.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5
    ).sqrt()
    assert torch.allclose(block(x), expected.relu(), atol=1e-5)
    assert (ConvNormAct(2, 3, activation="none")(x) < 0).any()


def test_an_even_kernel_cannot_keep_the_size() -> None:
    with pytest.raises(ValueError, match="even kernel"):
        ConvNormAct(2, 3, kernel_size=2)


@pytest.mark.parametrize(("mode", "count"), [("fan_in", 64 * 9), ("fan_out", 128 * 9)])
def test_he_initialisation(mode: Any, count: int) -> None:
    layers = nn.Sequential(nn.Conv2d(64, 128, 3), nn.BatchNorm2d(128))
    nn.init.zeros_(layers[1].weight)
    he_normal_(layers, mode)
    assert layers[0].weight.std().item() == pytest.approx((2 / count) ** 0.5, rel=0.02)
    assert not layers[0].bias.any()
    assert (layers[1].weight == 1).all()
