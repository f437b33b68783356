"""SegNet, SegNet-Basic and their Bayesian variants: published counts, and a SegNet written down by hand."""

from __future__ import annotations

import pytest
import torch
from mac_counter import learnable, multiply_adds
from torch import Tensor, nn

from toolkit.backbones import vgg
from toolkit.backbones.segnet_basic_encoder import SegNetBasicEncoder
from toolkit.backbones.vgg import Vgg
from toolkit.contracts import Backbone, Neck, PyramidSpec
from toolkit.errors import PartsError
from toolkit.heads.pixel import PixelHead
from toolkit.necks.index_unpool import IndexUnpool


def segnet(classes=11, convs=None, depth=16, storage="uint8", **dropout) -> nn.ModuleList:
    backbone = Vgg(depth, batch_norm=True, pool_indices=True, ceil_mode=True, index_storage=storage, **dropout)
    neck = IndexUnpool(backbone.spec, convs=convs, **dropout)
    return nn.ModuleList([backbone, neck, PixelHead(neck.spec, classes, kernel_size=3)])


def segnet_basic(classes=11) -> nn.ModuleList:
    backbone = SegNetBasicEncoder()
    neck = IndexUnpool(backbone.spec, convs=[1, 1, 1, 1], kernel_size=7, activation="none")
    return nn.ModuleList([backbone, neck, PixelHead(neck.spec, classes)])


def run(net: nn.ModuleList, images: Tensor) -> Tensor:
    backbone, neck, head = net
    return head(neck(backbone(images)))


@pytest.mark.parametrize(
    ("build", "arguments", "wanted", "macs"),
    [
        (segnet, {}, 29_449_355, 106_712_432_640),
        (segnet, {"classes": 12}, 29_449_932, None),
        (segnet, {"classes": 19}, 29_453_971, None),
        (segnet, {"classes": 21}, 29_455_125, None),
        (segnet, {"classes": 38}, 29_464_934, None),
        (segnet, {"dropout_after": [3, 4, 5]}, 29_449_355, 106_712_432_640),
        (segnet, {"convs": [3, 3, 3, 2, 2]}, 29_486_411, 113_082_531_840),
        (segnet_basic, {}, 1_416_587, 59_188_838_400),
        (segnet_basic, {"classes": 12}, 1_416_652, None),
    ],
)
def test_parameters_and_multiply_adds_are_the_official_nets(build, arguments, wanted, macs):
    with torch.device("meta"):
        net = build(**arguments)
    assert learnable(net) == wanted
    if macs is not None:
        assert multiply_adds(net, lambda: run(net, torch.empty(1, 3, 360, 480, device="meta"))) == macs


def test_poolings_round_up_as_caffe_does():
    with torch.device("meta"):
        pyramid = segnet()[0](torch.empty(1, 3, 360, 480, device="meta"))
    assert [pools.pooled for pools in pyramid.pools] == [(180, 240), (90, 120), (45, 60), (23, 30), (12, 15)]
    assert [pools.size for pools in pyramid.pools] == [(360, 480), (180, 240), (90, 120), (45, 60), (23, 30)]


class PlainSegNet(nn.Module):
    """The net of Models/segnet_train.prototxt with PyTorch's own pair of layers, for the weights of ours."""

    def __init__(self, net: nn.ModuleList) -> None:
        super().__init__()
        backbone, neck, head = net
        self.encoder = nn.ModuleList(self.units(stage) for stage in backbone.stages)
        self.decoder = nn.ModuleList(self.units(stage) for stage in neck.stages)
        self.classifier = head.classifier
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=True, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2, 2)

    @staticmethod
    def units(stage: nn.Module) -> nn.Sequential:
        layers = [layer for layer in stage.modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)]
        assert len(layers) % 2 == 0
        return nn.Sequential(
            *(part for i in range(0, len(layers), 2) for part in (layers[i], layers[i + 1], nn.ReLU()))
        )

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for stage in self.encoder:
            x = stage(x)
            size = x.shape[-2:]
            x, indices = self.pool(x)
            kept.append((indices, size))
        for stage in self.decoder:
            indices, size = kept.pop()
            x = stage(self.unpool(x, indices, output_size=list(size)))
        return self.classifier(x)


@pytest.mark.parametrize("size", [(64, 96), (45, 61)])
@pytest.mark.parametrize("storage", ["int64", "uint8", "packed"])
def test_equals_the_net_written_by_hand(size, storage, monkeypatch):
    monkeypatch.setattr(vgg, "WIDTHS", (8, 12, 16, 20, 20))  # the full net takes minutes and does nothing else
    net = segnet(storage=storage).train()
    plain = PlainSegNet(net)
    images = torch.randn(1, 3, *size)
    outputs, gradients = [], []
    for forward in (lambda: run(net, images), lambda: plain(images)):
        net.zero_grad()
        output = forward()
        output.square().mean().backward()
        outputs.append(output.detach())
        gradients.append([p.grad.clone() for p in net.parameters()])
    assert outputs[0].shape == (1, 11, *size)
    assert torch.equal(*outputs)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_segnet_basic_restores_odd_sizes():
    with torch.device("meta"):
        net = segnet_basic()
        assert run(net, torch.empty(1, 3, 45, 61, device="meta")).shape == (1, 11, 45, 61)


def dropout_places(part: Backbone | Neck) -> list[str]:
    return [name for name, layer in part.named_modules() if isinstance(layer, nn.Dropout) and layer.p > 0]


def test_bayesian_dropouts_stand_at_the_official_places():
    with torch.device("meta"):
        backbone, neck, _ = segnet(dropout_after=[3, 4, 5])
    assert dropout_places(backbone) == ["dropouts.2", "dropouts.3", "dropouts.4"]
    assert dropout_places(neck) == ["stages.0.3", "stages.1.3", "stages.2.3"]  # behind conv5_1_D, conv4_1_D, conv3_1_D


def test_official_batch_norm_settings():
    with torch.device("meta"):
        backbone = Vgg(11, batch_norm=True, pool_indices=True, bn_eps=1e-9, bn_shift=0.001)
    neck = IndexUnpool(PyramidSpec((4, 6, 6), (1, 2, 4), True), bn_eps=1e-9, bn_shift=0.001)
    norms = [m for part in (backbone, neck) for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-9}
    assert all(norm.bias.unique().tolist() == pytest.approx([0.001]) for norm in norms if not norm.bias.is_meta)


@pytest.mark.parametrize(
    ("spec", "arguments", "advice"),
    [
        (PyramidSpec((8, 16, 16), (1, 2, 4)), {}, "pool_indices: true"),
        (PyramidSpec((8, 16, 32), (1, 2, 4), True), {}, "last pooling"),
        (PyramidSpec((8, 16, 16), (1, 2, 4), True, (2, 6, 6)), {}, "padding: true"),
        (PyramidSpec((8, 16, 16), (1, 2, 4), True), {"convs": [1]}, "one number a pooling"),
        (PyramidSpec((8, 16, 16), (1, 2, 4), True), {"kernel_size": 4}, "odd"),
    ],
)
def test_what_cannot_be_unpooled_is_refused_in_words(spec, arguments, advice):
    with pytest.raises(PartsError, match=advice):
        IndexUnpool(spec, **arguments)
