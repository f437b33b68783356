from __future__ import annotations

import pytest
import torch
from torch import nn

from toolkit.backbones import vgg
from toolkit.backbones.vgg import Vgg
from toolkit.errors import CheckpointError, ConfigError

models = pytest.importorskip("torchvision.models")


@pytest.fixture
def narrow(monkeypatch) -> None:
    """The same nets with few maps, for what does not depend on their number."""
    monkeypatch.setattr(vgg, "WIDTHS", (4, 8, 12, 16, 16))


def features_of(name: str) -> nn.Sequential:
    """torchvision's convolutions with shaken batch statistics."""
    depth, _, norm = name.removeprefix("vgg").partition("_")
    net = models.vgg.make_layers(models.vgg.cfgs[{"11": "A", "13": "B", "16": "D", "19": "E"}[depth]], norm == "bn")
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return net.eval()


@pytest.mark.parametrize(
    ("depth", "batch_norm"),
    [
        (11, False),
        pytest.param(13, True, marks=pytest.mark.slow),
        pytest.param(16, False, marks=pytest.mark.slow),
        (16, True),
        pytest.param(19, True, marks=pytest.mark.slow),
    ],
)
def test_equals_torchvision_on_its_weights(depth, batch_norm, tmp_path):
    features = features_of(f"vgg{depth}" + ("_bn" if batch_norm else ""))
    path = tmp_path / "weights.pth"
    torch.save({f"features.{key}": value for key, value in features.state_dict().items()}, path)
    backbone = Vgg(depth, batch_norm, weights=str(path)).eval()
    images = torch.randn(1, 3, 41, 70)
    wanted, x = [], images
    with torch.no_grad():
        for layer in features:
            if isinstance(layer, nn.MaxPool2d):
                wanted.append(x)
            x = layer(x)
        pyramid = backbone(images)
    assert pyramid.spec.strides == (1, 2, 4, 8, 16, 32)
    for mine, theirs in zip(pyramid.maps, [*wanted, x], strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_gray_pictures_take_weights_of_coloured_ones(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({f"features.{key}": value for key, value in features_of("vgg11").state_dict().items()}, path)
    colour, gray = (Vgg(11, weights=str(path), in_channels=c).eval() for c in (3, 1))
    images = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(gray(images).maps[-1], colour(images.repeat(1, 3, 1, 1)).maps[-1], atol=1e-5)


def test_wrong_weights_are_named(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({f"features.{key}": value for key, value in features_of("vgg11").state_dict().items()}, path)
    with pytest.raises(CheckpointError, match="missing"):
        Vgg(13, weights=str(path))
    with pytest.raises(ConfigError, match="IMAGENET1K"):
        Vgg(11, weights="IMAGENET1K_V7")


def test_convolutional_fc_is_the_classifier(narrow, tmp_path, monkeypatch):
    # Where a 7x7 window of pool5 fits, fc6 and fc7 as convolutions answer what the fully connected layers answer.
    monkeypatch.setattr(vgg, "FC_WIDTH", 32)
    fc6, fc7 = torch.randn(32, 16 * 49) * 0.1, torch.randn(32, 32)
    source = Vgg(11)
    position, state = 0, {}
    for stage in source.stages:
        for unit in stage:
            state |= {f"features.{position}.{kind}": value for kind, value in unit.conv.state_dict().items()}
            position += 2
        position += 1
    state |= {"classifier.0.weight": fc6, "classifier.0.bias": torch.ones(32)}
    state |= {"classifier.3.weight": fc7, "classifier.3.bias": torch.zeros(32), "classifier.6.bias": torch.ones(5)}
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    pooled = torch.randn(1, 16, 7, 7)
    wanted = (fc7 @ (fc6 @ pooled.flatten() + 1).relu()).relu()
    for padding in (True, False):
        backbone = Vgg(11, weights=str(path), padding=padding, convolutional_fc=True).eval()
        with torch.no_grad():
            found = backbone.fc(pooled)[0]
        assert torch.allclose(found[:, found.shape[1] // 2, found.shape[2] // 2], wanted, rtol=1e-4, atol=1e-4)


def test_front_end_of_yu_and_koltun():
    with torch.device("meta"):
        backbone = Vgg(16, drop_pools=[4, 5], padding=False, convolutional_fc=True)
    spec = backbone.spec
    assert spec.strides == (1, 2, 4, 8, 8, 8)
    assert spec.borders[-1] == 186
    assert sum(p.numel() for p in backbone.parameters()) + 21 * 4097 == 134_346_581
    for side in (500, 628, 852, 900, 1396):
        assert spec.sizes.allows(side)
        last = backbone(torch.empty(1, 3, side, side, device="meta")).maps[-1]
        assert last.shape[-2:] == ((side - 372) // 8,) * 2
    assert not spec.sizes.allows(501)
    assert not spec.sizes.allows(372)
    dilations = [stage[0].conv.dilation[0] for stage in backbone.stages]
    assert (dilations, backbone.fc[0].dilation[0]) == ([1, 1, 1, 1, 2], 4)


def test_an_unpadded_map_sees_what_its_border_says(narrow):
    # Cell i of a map of border b and stride s begins at pixel b + s * i: its receptive field, which is symmetric
    # around the cell, reaches `b` pixels further to each side.
    backbone = Vgg(11, drop_pools=[3, 4, 5], padding=False, pooling="average").eval()
    spec = backbone.spec
    side = spec.sizes.next_legal(1)
    with torch.no_grad():
        for p in backbone.parameters():
            p.copy_(p.abs())
    for index, (stride, border) in enumerate(zip(spec.strides, spec.borders, strict=True)):
        images = torch.ones(1, 3, side, side, requires_grad=True)
        features = backbone(images).maps[index]
        assert features.shape[-1] == (side - 2 * border) // stride
        features[0, :, 0, 0].sum().backward()
        columns = images.grad[0].abs().sum((0, 1)).nonzero().flatten()
        assert (columns.min(), columns.max()) == (0, 2 * border + stride - 1)


def test_dropout_stands_after_the_named_poolings_only(narrow):
    backbone = Vgg(11, dropout_after=[3, 4, 5], dropout=0.5)
    assert [layer.p for layer in backbone.dropouts] == [0, 0, 0.5, 0.5, 0.5]
    backbone.train()
    maps = backbone(torch.rand(1, 3, 64, 64)).maps
    # conv4 is computed from dropped values, pool5 is dropped itself: half of its positive values are gone.
    alive = nn.functional.max_pool2d(maps[4], 2) > 0
    assert 0.3 < (maps[5][alive] == 0).float().mean() < 0.7


@pytest.mark.parametrize(
    "arguments",
    [
        {"pool_indices": True, "pooling": "average"},
        {"pool_indices": True, "drop_pools": [3]},
        {"pool_indices": True, "convolutional_fc": True},
        {"dilations": [1, 2]},
        {"bgr_mean": [0.0, 0.0, 0.0], "in_channels": 1},
    ],
)
def test_contradictions_are_refused(arguments):
    with pytest.raises(ConfigError), torch.device("meta"):
        Vgg(11, **arguments)


def test_caffes_pixels():
    with torch.device("meta"):
        stats = Vgg(11, bgr_mean=[102.9801, 115.9465, 122.7717]).pixel_stats
    assert stats.bgr
    white = [(1 - mean) / std for mean, std in zip(stats.mean, stats.std, strict=True)]
    assert white == pytest.approx([255 - 102.9801, 255 - 115.9465, 255 - 122.7717])


@pytest.mark.parametrize("kind", ["average", "l2", "stochastic"])
def test_pooling_kinds(narrow, kind):
    backbone = Vgg(11, pooling=kind, ceil_mode=True)
    maps = backbone(torch.rand(1, 3, 45, 61)).maps
    assert [tuple(m.shape[-2:]) for m in maps] == [(45, 61), (23, 31), (12, 16), (6, 8), (3, 4), (2, 2)]


def test_a_narrow_net_is_the_net_with_all_channels_in_proportion() -> None:
    quarter = Vgg(16, width=16, drop_pools=[4, 5], convolutional_fc=True)
    assert quarter.spec.channels == (16, 32, 64, 128, 128, 1024)
    whole = Vgg(16, drop_pools=[4, 5], convolutional_fc=True).spec
    assert quarter.spec.strides == whole.strides
    maps = quarter(torch.zeros(1, 3, 40, 48)).maps
    assert [one.shape[1] for one in maps] == [16, 32, 64, 128, 128, 1024]
