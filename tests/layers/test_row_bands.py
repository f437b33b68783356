"""Bands of rows give what the whole map gives, to the bit, and hold less."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.layers.conv import ConvNormAct
from toolkit.layers.row_bands import band_of_rows, in_bands, in_row_bands, rows_around
from toolkit.necks.skip import SkipNeck


def layers(padding, number=2, dilation=1):
    torch.manual_seed(0)
    convs = nn.Sequential(
        *(ConvNormAct(4 if i else 3, 4, dilation=dilation, padding=padding) for i in range(number))
    ).eval()
    for one in convs.modules():
        if isinstance(one, nn.BatchNorm2d):
            nn.init.uniform_(one.running_var, 0.5, 1.5)
            nn.init.normal_(one.bias)  # what follows padding is not zero
    return convs


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("height", "step"), [(40, 8), (41, 8), (23, 16), (17, 9)])
@pytest.mark.parametrize("dilation", [1, 2])
@torch.inference_mode()
def test_convolutions(padding, height, step, dilation):
    convs = layers(padding, dilation=dilation)
    x = torch.randn(2, 3, height, 13)
    found = in_bands(convs, lambda first, last: x[..., first:last, :], height, step)
    torch.testing.assert_close(found, convs(x), rtol=1e-5, atol=1e-6)


def unet(upsample="transpose", padding="same", fit="pad", width=4, depth=3, **more):
    torch.manual_seed(0)
    backbone = UNetEncoder(3, width, depth, padding=padding, norm="batch")
    return nn.Sequential(
        backbone, SkipNeck(backbone.spec, upsample=upsample, padding=padding, fit=fit, norm="batch", **more)
    ).eval()


@pytest.mark.parametrize("upsample", ["transpose", "bilinear", "nearest"])
@pytest.mark.parametrize(
    ("padding", "fit", "size"),
    [("same", "pad", (61, 50)), ("same", "pad", (64, 48)), ("valid", "crop", (108, 92)), ("valid", "pad", (108, 92))],
)
@torch.inference_mode()
def test_u_nets(upsample, padding, fit, size):
    net, images = unet(upsample, padding, fit), torch.randn(2, 3, *size)
    whole = net(images).maps[0]
    with in_row_bands(1):
        banded = net(images).maps[0]
    torch.testing.assert_close(banded, whole, rtol=1e-5, atol=1e-5)
    assert whole.std() > 0.1


@torch.inference_mode()
def test_steps_without_a_finer_map():
    backbone = UNetEncoder(3, 4, 3, padding="same", norm="batch", first_stride=2)
    net = nn.Sequential(backbone, SkipNeck(backbone.spec, to_stride=1, norm="batch")).eval()
    images = torch.randn(1, 3, 66, 50)
    whole = net(images).maps[0]
    with in_row_bands(1):
        torch.testing.assert_close(net(images).maps[0], whole, rtol=1e-5, atol=1e-5)


def test_what_depends_on_more_than_rows_is_done_at_once():
    assert rows_around(ConvNormAct(8, 8, norm="group")) is None
    assert rows_around(ConvNormAct(8, 8).train()) is None
    assert rows_around(ConvNormAct(8, 8, stride=2).eval()) is None
    convs = layers("same")
    assert rows_around(convs) == (2, 0)
    with torch.inference_mode():
        assert band_of_rows(convs, 100, 10) is None  # nobody asked
        with in_row_bands(200):
            assert band_of_rows(convs, 100, 10) == 20
            assert band_of_rows(convs, 100, 1000) == 8
            assert band_of_rows(convs, 20, 10) is None
    with in_row_bands(200):
        assert band_of_rows(convs, 100, 10) is None  # a training
