"""LeNet-5, AlexNet, GoogLeNet, DenseNet: sizes at the papers' images, weights they refuse, options that act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import toolkit.backbones  # noqa: F401  registers
from toolkit.backbones.alexnet import AlexNet
from toolkit.backbones.densenet import DenseNet
from toolkit.backbones.googlenet import GoogLeNet
from toolkit.backbones.lenet5 import C3_TABLE, LeNet5, ScaledTanh, Subsampling, TableConv
from toolkit.contracts import BACKBONES
from toolkit.errors import CheckpointError, ConfigError
from toolkit.heads.image import ImageHead


@pytest.mark.parametrize(
    ("name", "arguments", "size", "cells"),
    [
        ("lenet5", {}, 28, [28, 10, 5]),
        ("lenet5", {"padding": 0, "in_channels": 3}, 32, [28, 10, 5]),
        ("alexnet", {}, 224, [55, 27, 13, 6]),
        ("alexnet", {"variant": "2012"}, 227, [55, 27, 13, 6]),
        ("googlenet", {"auxiliary": True}, 224, [112, 56, 28, 14, 14, 14, 7]),
        ("densenet", {}, 224, [112, 56, 28, 14, 7]),
    ],
)
def test_maps_have_the_published_sizes(name: str, arguments: dict[str, Any], size: int, cells: list[int]) -> None:
    with torch.device("meta"):
        backbone = BACKBONES.find(name)(**arguments)
    maps = backbone(torch.empty(1, backbone.in_channels, size, size, device="meta")).maps
    assert [m.shape[-1] for m in maps] == cells


@pytest.mark.parametrize("net", [AlexNet, GoogLeNet, DenseNet])
def test_smallest_legal_image_leaves_a_cell_and_the_next_smaller_none(net: Any) -> None:
    with torch.device("meta"):
        backbone = net().eval()
    least = backbone.spec.sizes.minimum
    assert backbone(torch.empty(1, 3, least, least, device="meta")).maps[-1].shape[-1] == 1
    if net is not GoogLeNet:
        with pytest.raises(RuntimeError):
            backbone(torch.empty(1, 3, least - 1, least - 1, device="meta"))


def test_features_of_torchvisions_alexnet_are_equal(tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models")
    theirs = models.alexnet(weights=None, num_classes=2).features.eval()
    path = tmp_path / "a.pth"
    torch.save({f"features.{key}": value for key, value in theirs.state_dict().items()}, path)
    ours = AlexNet(weights=str(path)).eval()
    images = torch.randn(1, 3, 97, 130)
    with torch.no_grad():
        found = ours(images).maps
        for index, position in ((0, 1), (1, 4), (2, 11), (3, 12)):
            assert torch.equal(found[index], theirs[: position + 1](images))


def test_old_files_of_densenet_with_dotted_names_load(tmp_path: Path) -> None:
    donor = DenseNet(121)
    state = {
        "features." + k.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v
        for k, v in donor.state_dict().items()
        if "num_batches" not in k
    }
    path = tmp_path / "old.pth"
    torch.save(state, path)
    assert any(".norm.1." in key for key in state)
    assert all(
        torch.equal(a, b) for a, b in zip(donor.parameters(), DenseNet(weights=str(path)).parameters(), strict=True)
    )


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"features.0.weight": torch.ones(64, 3, 11, 11), "features.20.bias": torch.ones(1)}, path)
    with pytest.raises(CheckpointError) as caught:
        AlexNet(weights=str(path))
    assert "tensors are missing: conv1.bias" in str(caught.value)
    assert "not of this net: features.20.bias" in str(caught.value)
    with pytest.raises(ConfigError, match=r"nobody publishes .* of the 2012 net"):
        AlexNet(variant="2012", weights="DEFAULT")
    with pytest.raises(ConfigError, match="with batch norm and 3x3 kernels"):
        GoogLeNet(true_5x5=True, weights="DEFAULT")


def test_groups_of_2012_do_not_see_each_other() -> None:
    net = AlexNet(variant="2012")
    x = torch.randn(1, 96, 5, 5, requires_grad=True)
    net.conv2(x)[:, :128].sum().backward()
    reached = x.grad.abs().sum((0, 2, 3)) > 0
    assert reached.tolist() == [True] * 48 + [False] * 48


def test_normalisation_of_2012_is_the_papers_formula() -> None:
    net = AlexNet(variant="2012")
    x = torch.rand(1, 12, 2, 2) * 50
    wanted = torch.empty_like(x)
    for i in range(12):
        near = x[:, max(0, i - 2) : i + 3]
        wanted[:, i] = x[:, i] / (2 + 1e-4 * near.square().sum(1)) ** 0.75
    torch.testing.assert_close(net.normalise(x), wanted)


@pytest.mark.parametrize("kind", ["average", "l2", "stochastic"])
@pytest.mark.parametrize("net", [LeNet5, AlexNet, GoogLeNet, DenseNet])
def test_every_kind_of_pooling_gives_the_sizes_of_the_maximum(net: Any, kind: str) -> None:
    sizes = []
    for pooling in ("max", kind):
        with torch.device("meta"):
            backbone = net(pooling=pooling).eval()
        images = torch.empty(1, backbone.in_channels, 75, 98, device="meta")
        sizes.append([m.shape for m in backbone(images).maps])
    assert sizes[0] == sizes[1]


def test_stochastic_pooling_needs_an_activation_without_negative_values() -> None:
    with pytest.raises(ConfigError, match="set activation: relu"):
        LeNet5(pooling="stochastic", activation="tanh")


def test_pooling_kind_changes_the_maps_not_their_sizes() -> None:
    torch.manual_seed(0)
    maximum = LeNet5(pooling="max")
    average = LeNet5(pooling="average")
    average.load_state_dict(maximum.state_dict())
    images = torch.randn(1, 1, 28, 28)
    a, b = maximum(images).maps, average(images).maps
    assert torch.equal(a[0], b[0])
    assert a[2].shape == b[2].shape
    assert not torch.allclose(a[2], b[2])


def test_the_table_of_c3_connects_sixty_pairs_and_every_map_of_s2_alike() -> None:
    assert len(C3_TABLE) == 16
    assert sum(map(len, C3_TABLE)) == 60
    assert [sum(i in row for row in C3_TABLE) for i in range(6)] == [10] * 6
    assert len({tuple(sorted(row)) for row in C3_TABLE}) == 16
    conv = TableConv(((0, 2), (1,)), 3)
    x = torch.randn(1, 3, 5, 5)
    assert torch.equal(conv(x)[:, 1:], F.conv2d(x[:, 1:2], conv.kernels[1].weight, conv.kernels[1].bias))


def test_lenet_of_1998_has_the_papers_weights_and_sigmoid_units_answer_between_0_and_1() -> None:
    """C1 156, S2 12, C3 1,516, S4 32, C5 48,120, F6 10,164: 60,000 (section II.B); the usual build 61,706."""
    paper = LeNet5(padding=0, pooling="trainable", connections="table", activation="sigmoid")
    head = ImageHead(paper.spec, 10, "none", 5, [120, 84], activation="sigmoid")
    counts = [
        sum(p.numel() for p in part.parameters()) for part in (paper.conv1, paper.pool1, paper.conv2, paper.pool2)
    ]
    layers = [sum(p.numel() for p in layer.parameters()) for layer in head.layers.linears]
    assert counts == [156, 12, 1516, 32]
    assert layers == [48_120, 10_164, 850]
    assert sum(counts) + sum(layers[:2]) == 60_000
    usual = LeNet5(pooling="average", activation="sigmoid")
    assert sum(p.numel() for p in (*usual.parameters(), *head.parameters())) == 61_706
    images = 3 * torch.randn(2, 1, 28, 28)
    maps = usual(images).maps
    assert torch.equal(maps[0], torch.sigmoid(usual.conv1(images)))
    assert all(((found > 0) & (found < 1)).all() for found in maps)
    units: list[torch.Tensor] = []
    head.layers.activation.register_forward_hook(lambda _module, _inputs, found: units.append(found))
    head(usual(images))
    assert [unit.shape[1] for unit in units] == [120, 84]
    assert all(((unit > 0) & (unit < 1)).all() for unit in units)


def test_subsampling_and_the_scaled_tanh_are_the_papers() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    layer = Subsampling(1)
    layer.coefficient.data.fill_(0.1)
    layer.bias.data.fill_(-0.5)
    torch.testing.assert_close(layer(x), torch.sigmoid(torch.tensor([[[[0.5]]]])))
    torch.testing.assert_close(ScaledTanh()(torch.tensor([1.0, -1.0])), torch.tensor([1.0, -1.0]), rtol=0, atol=1e-4)
