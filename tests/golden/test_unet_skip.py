"""`unet_encoder` + `skip` + 1x1 convolution is the U-Net: against a plain one written out here, and its table."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.necks.skip import SkipNeck


def double(before: int, after: int, pad: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=pad), nn.ReLU(), nn.Conv2d(after, after, 3, padding=pad), nn.ReLU()
    )


class PlainUNet(nn.Module):
    """Fig. 1 of the paper, level by level, as one would write it down for it alone."""

    def __init__(self, width: int, pad: int) -> None:
        super().__init__()
        w = [width, 2 * width, 4 * width, 8 * width, 16 * width]
        self.d0, self.d1, self.d2 = double(1, w[0], pad), double(w[0], w[1], pad), double(w[1], w[2], pad)
        self.d3, self.d4 = double(w[2], w[3], pad), double(w[3], w[4], pad)
        self.up3, self.u3 = nn.ConvTranspose2d(w[4], w[3], 2, 2), double(w[4], w[3], pad)
        self.up2, self.u2 = nn.ConvTranspose2d(w[3], w[2], 2, 2), double(w[3], w[2], pad)
        self.up1, self.u1 = nn.ConvTranspose2d(w[2], w[1], 2, 2), double(w[2], w[1], pad)
        self.up0, self.u0 = nn.ConvTranspose2d(w[1], w[0], 2, 2), double(w[1], w[0], pad)

    @staticmethod
    def join(up: Tensor, skip: Tensor) -> Tensor:
        top, left = (skip.shape[2] - up.shape[2]) // 2, (skip.shape[3] - up.shape[3]) // 2
        return torch.cat([up, skip[:, :, top : top + up.shape[2], left : left + up.shape[3]]], 1)

    def forward(self, x: Tensor) -> Tensor:
        s0 = self.d0(x)
        s1 = self.d1(F.max_pool2d(s0, 2))
        s2 = self.d2(F.max_pool2d(s1, 2))
        s3 = self.d3(F.max_pool2d(s2, 2))
        x = self.d4(F.max_pool2d(s3, 2))
        x = self.u3(self.join(self.up3(x), s3))
        x = self.u2(self.join(self.up2(x), s2))
        x = self.u1(self.join(self.up1(x), s1))
        return self.u0(self.join(self.up0(x), s0))


@pytest.mark.parametrize(("padding", "size"), [("valid", (188, 204)), ("same", (64, 48))])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_equals_a_plain_unet(
    padding: Literal["same", "valid"], size: tuple[int, int], fit: Literal["crop", "pad"]
) -> None:
    if padding == "valid" and fit == "pad":
        pytest.skip("padding the enlarged maps is another net")
    backbone = UNetEncoder(width=4, padding=padding).eval()
    neck = SkipNeck(backbone.spec, padding=padding, fit=fit).eval()
    plain = PlainUNet(4, pad=1 if padding == "same" else 0)
    ours = [*backbone.parameters(), *neck.parameters()]
    theirs = list(plain.parameters())
    assert [p.shape for p in ours] == [p.shape for p in theirs]
    with torch.no_grad():
        for source, target in zip(ours, theirs, strict=True):
            target.copy_(source + 0.01)  # biases too, so that a lost bias shows
            source.copy_(target)
        images = torch.randn(1, 1, *size)
        result = neck(backbone(images))
        assert torch.allclose(result.maps[0], plain(images), rtol=1e-5, atol=1e-6)
    border = neck.spec.borders[0]
    assert border == (92 if padding == "valid" else 0)
    assert tuple(result.maps[0].shape[-2:]) == tuple(n - 2 * border for n in size)


# Output channels and size of each convolution for 572 x 572, in order (the paper's figure).
DOWN = [
    (64, 570),
    (64, 568),
    (128, 282),
    (128, 280),
    (256, 138),
    (256, 136),
    (512, 66),
    (512, 64),
    (1024, 30),
    (1024, 28),
]
UP = [
    *[(512, 56), (512, 54), (512, 52)],
    *[(256, 104), (256, 102), (256, 100)],
    *[(128, 200), (128, 198), (128, 196)],
    *[(64, 392), (64, 390), (64, 388)],
    (2, 388),
]


def paper_unet() -> tuple[UNetEncoder, SkipNeck, nn.Conv2d]:
    with torch.device("meta"):
        backbone = UNetEncoder()
        return backbone, SkipNeck(backbone.spec, padding="valid", fit="crop"), nn.Conv2d(64, 2, 1)


def test_layers_parameters_and_macs_of_the_paper() -> None:
    backbone, neck, classifier = paper_unet()
    shapes: list[tuple[int, int]] = []
    macs = 0

    def record(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal macs
        weight = layer.weight
        cells = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        macs += weight.numel() * cells.shape[-2] * cells.shape[-1]
        shapes.append((output.shape[1], output.shape[-1]))

    model = nn.ModuleList([backbone, neck, classifier])
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(record)
    classifier(neck(backbone(torch.zeros(1, 1, 572, 572, device="meta"))).maps[0])
    assert shapes == DOWN + UP
    assert sum(p.numel() for p in model.parameters()) == 31_030_658
    assert macs == 150_428_424_448


@pytest.mark.parametrize(("size", "cells"), [(188, 4), (204, 20), (572, 388), (444, 260), (892, 708)])
def test_legal_sizes_of_the_paper(size: int, cells: int) -> None:
    backbone, neck, _ = paper_unet()
    rule = neck.spec.sizes
    assert rule.allows(size)
    assert rule.previous_legal(187) is None
    assert [n for n in range(size, size + 33) if rule.allows(n)] == [size, size + 16, size + 32]
    assert neck(backbone(torch.zeros(1, 1, size, size, device="meta"))).maps[0].shape[-1] == cells


def test_dropout_ends_the_contracting_path_and_the_skip_connection_feels_it() -> None:
    backbone = UNetEncoder(width=2).train()
    images = torch.rand(1, 1, 140, 140)
    first, second = backbone(images).maps, backbone(images).maps
    assert [torch.equal(a, b) for a, b in zip(first, second, strict=True)] == [True, True, True, False, False]


def test_weights_start_as_the_paper_says() -> None:
    backbone = UNetEncoder(width=32)
    neck = SkipNeck(backbone.spec, padding="valid", fit="crop")
    for layer in [*backbone.modules(), *neck.modules()]:
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 20_000:
            incoming = layer.in_channels * 9
        elif isinstance(layer, nn.ConvTranspose2d):
            incoming = layer.out_channels * 4  # as the released net's filler counts
        else:
            continue
        assert layer.weight.std().item() == pytest.approx((2 / incoming) ** 0.5, rel=0.05)
        assert layer.bias is not None
        assert not layer.bias.any()
